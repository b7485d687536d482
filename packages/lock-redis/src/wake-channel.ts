import { randomUUID } from 'node:crypto'
import type { RedisConnection } from '@multinode/connection-redis'
import type { Clock, Timer } from '@multinode/core'

export interface WakeChannelParts {
  /** Makes the connection of the subscription, once somebody has to wait. */
  readonly connect: (signal: AbortSignal) => Promise<RedisConnection>
  /** Common to all processes of the cluster. */
  readonly prefix: string
  readonly clock: Clock
  readonly callTimeoutMs: number
  readonly standbyAfterMs: number
  readonly report: (error: unknown) => void
}

const betweenTriesMs = 1_000
/** How long a subscription on a Cluster counts: ioredis makes it anew when its node is lost, and says nothing when that is refused. */
const clusterTrustMs = 5_000

/**
 * How waiters of this process are told that it is their turn: one channel a process, on a connection of its own, opened when the first one
 * has to wait. While it is not there nobody is told, and `isLive` says so.
 *
 * Not a sharded channel in a Cluster, although a plain one crosses it: see docs/decisions.md.
 */
export class WakeChannel {
  /** What follows the prefix; unique. */
  readonly id: string = randomUUID()
  readonly #parts: WakeChannelParts
  readonly #wakers = new Map<string, () => void>()
  readonly #standbys = new Set<Timer>()
  readonly #ending = new AbortController()
  #opening: Promise<void> | undefined
  #connection: RedisConnection | undefined
  #isLive = false
  #subscribedAtMs = 0
  #isClosed = false

  constructor(parts: WakeChannelParts) {
    this.#parts = parts
  }

  get isLive(): boolean {
    return this.#isLive
  }

  listen(owner: string, wake: () => void): () => void {
    this.#wakers.set(owner, wake)
    return () => this.#wakers.delete(owner)
  }

  /** Begins to open it if nobody has. What failed is tried again by who waits a second later. */
  open(): void {
    if (this.#isLive && this.#isOld()) this.#opening = undefined
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#isLive = false
      // What a close cuts off is no trouble.
      if (this.#isClosed) return
      this.#parts.report(error)
      this.#parts.clock.setTimer(() => (this.#opening = undefined), betweenTriesMs, 'background')
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#isLive = false
    for (const standby of this.#standbys) standby.cancel()
    this.#ending.abort()
    await this.#connection?.close()
    await this.#opening
  }

  #isOld(): boolean {
    if (this.#connection === undefined || !('nodes' in this.#connection.client)) return false
    return this.#parts.clock.monotonicMs() - this.#subscribedAtMs > clusterTrustMs
  }

  async #open(): Promise<void> {
    // One that may not subscribe is kept for the next try.
    this.#connection ??= await this.#connect()
    if (this.#isClosed) return this.#connection.close()
    await this.#subscribe(this.#connection)
  }

  async #connect(): Promise<RedisConnection> {
    const connection = await this.#parts.connect(this.#ending.signal)
    const { client } = connection
    client.on('message', (_: string, message: string) => this.#receive(message))
    client.on('close', () => (this.#isLive = false))
    client.on('ready', () => {
      this.#opening = undefined
      this.open()
    })
    return connection
  }

  async #subscribe(connection: RedisConnection): Promise<void> {
    const { prefix, clock, callTimeoutMs } = this.#parts
    const wasLive = this.#isLive
    this.#subscribedAtMs = clock.monotonicMs()
    await connection.run('SUBSCRIBE', callTimeoutMs, () => connection.client.subscribe(prefix + this.id))
    this.#isLive = !this.#isClosed
    if (wasLive) return
    // What was said meanwhile was not heard.
    for (const wake of this.#wakers.values()) wake()
  }

  /** `go <owner>`: it is reserved for you. `standby <owner>`: it is reserved for somebody else; look whether that one came. */
  #receive(message: string): void {
    const [word, owner = ''] = message.split(' ')
    if (word === 'go') this.#wakers.get(owner)?.()
    if (word !== 'standby') return
    const { clock, standbyAfterMs } = this.#parts
    const timer = clock.setTimer(
      () => {
        this.#standbys.delete(timer)
        this.#wakers.get(owner)?.()
      },
      standbyAfterMs,
      'background',
    )
    this.#standbys.add(timer)
  }
}
