import { Redis } from 'ioredis'
import { backoffMs, type ClientParts, closeMs } from './create-client.ts'
import type { RedisEndpoint } from './redis-target.ts'

/**
 * Hears from the Sentinels that the master has changed, and leaves the old one at once: after a planned failover it goes on
 * taking writes for a while, and loses them.
 *
 * In place of the failoverDetector of ioredis, whose clients have no listener for errors, so that it prints each of them, and which also
 * reacts to the failover of other masters.
 */
export class FailoverWatch {
  readonly #parts: ClientParts
  readonly #master: Redis
  readonly #sentinels: readonly Redis[]
  #isClosed = false

  constructor(parts: ClientParts, master: Redis) {
    this.#parts = parts
    this.#master = master
    this.#sentinels = parts.target.endpoints.map((endpoint) => this.#listenTo(endpoint))
  }

  close(): void {
    this.#isClosed = true
    for (const sentinel of this.#sentinels) sentinel.disconnect()
  }

  #listenTo(endpoint: RedisEndpoint): Redis {
    const { target, context } = this.#parts
    const { sentinelUsername: username, sentinelPassword: password, tls } = target
    const sentinel = new Redis({
      ...endpoint,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(tls === undefined ? {} : { tls: { ...tls } }),
      lazyConnect: true,
      // Needs a permission more.
      enableReadyCheck: false,
      autoResubscribe: false,
      connectTimeout: target.dialTimeoutMs ?? context.callTimeoutMs,
      disconnectTimeout: closeMs,
      retryStrategy: (attempt) => backoffMs(target, attempt),
    })
    // One that is away is tried again for ever; the others are heard meanwhile.
    sentinel.on('error', () => {})
    sentinel.on('message', (_, news: string) => this.#receive(news))
    sentinel.on('ready', () => void this.#subscribe(sentinel, endpoint))
    sentinel.connect().catch(() => {})
    return sentinel
  }

  async #subscribe(sentinel: Redis, { host, port }: RedisEndpoint): Promise<void> {
    // A close that came while it was connecting may not have ended it.
    if (this.#isClosed) return sentinel.disconnect()
    try {
      await sentinel.subscribe('+switch-master')
    } catch (error) {
      // Lost connections come back; a missing permission does not.
      if (!(error instanceof Error && error.message.startsWith('NOPERM'))) return
      this.#parts.context.warn(
        `The Sentinel at ${host}:${port} does not let its user subscribe, so failovers are noticed late: grant +subscribe and &*.`,
      )
    }
  }

  /**
   * `<master> <old host> <old port> <new host> <new port>`, which every Sentinel tells. Each time counts: after the first, one that has not heard yet may
   * have sent us back.
   */
  #receive(news: string): void {
    const [name, , , host, port] = news.split(' ')
    if (name !== this.#parts.target.masterName) return
    const leaveOther = (): void => {
      const { remoteAddress, remotePort } = this.#master.stream
      if (remoteAddress !== host || remotePort !== Number(port)) this.#master.disconnect(true)
    }
    const { status } = this.#master
    if (status === 'ready') return leaveOther()
    // While ioredis looks for the master, a disconnect would end it for good.
    this.#master.once('ready', leaveOther)
    // There is a new one: no need to wait any longer.
    if (status === 'reconnecting') this.#master.connect().catch(() => {})
  }
}
