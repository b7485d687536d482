import { type Timer, withDeadline } from '@multinode/core'
import type { Redis } from 'ioredis'
import { type ClientParts, createServerClient } from './create-client.ts'
import { chooseServer, Latencies, measureEveryMs } from './read-route.ts'
import type { ReadRouter } from './read-router.ts'
import type { RedisEndpoint } from './redis-target.ts'
import { tendLinks } from './tend-links.ts'

/**
 * Reads from the replicas of one master, which ioredis offers in a Cluster only: a client for each replica that the master names. They
 * are looked for and measured every 10 s.
 */
export class ReplicaReads implements ReadRouter {
  readonly #parts: ClientParts
  readonly #master: Redis
  readonly #latencies: Latencies
  readonly #replicas = new Map<string, Redis>()
  #timer: Timer | undefined
  #isClosed = false

  constructor(parts: ClientParts, master: Redis) {
    this.#parts = parts
    this.#master = master
    this.#latencies = new Latencies(parts.context.clock)
    // After a failover it is another master, with other replicas.
    master.on('ready', () => void this.#look())
    this.#lookAgainLater()
  }

  client(): Redis | undefined {
    const replicas = [...this.#replicas.values()]
    const chosen = chooseServer(this.#parts.target.reads, this.#master, replicas, this.#latencies)
    return chosen === this.#master ? undefined : chosen
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#keep([])
  }

  #lookAgainLater(): void {
    const look = async (): Promise<void> => {
      await this.#look()
      if (!this.#isClosed) this.#lookAgainLater()
    }
    this.#timer = this.#parts.context.clock.setTimer(() => void look(), measureEveryMs, 'background')
  }

  async #look(): Promise<void> {
    const { clock, callTimeoutMs } = this.#parts.context
    try {
      const asked = this.#master.call('ROLE')
      this.#keep(replicasIn(await withDeadline(clock, callTimeoutMs, asked, () => new Error('no answer'))))
    } catch {
      // The master is away: those that are known go on.
    }
    const known = [this.#master, ...this.#replicas.values()]
    await this.#latencies.measure(known.filter(({ status }) => status === 'ready'))
  }

  /** Connects to those that are new, and leaves those that are gone. */
  #keep(endpoints: readonly RedisEndpoint[]): void {
    const wanted = new Map(this.#isClosed ? [] : endpoints.map((each) => [`${each.host}:${each.port}`, each]))
    for (const [name, replica] of this.#replicas) {
      if (wanted.has(name)) continue
      replica.disconnect()
      this.#replicas.delete(name)
    }
    for (const [name, endpoint] of wanted) {
      if (!this.#replicas.has(name)) this.#replicas.set(name, this.#connect(endpoint))
    }
  }

  #connect(endpoint: RedisEndpoint): Redis {
    const target = {
      ...this.#parts.target,
      mode: 'single',
      endpoints: [endpoint],
      socketPath: undefined,
    } as const
    const replica = createServerClient({ ...this.#parts, target })
    // It is tried again for ever; meanwhile reads take another way.
    tendLinks(replica, this.#parts.context.clock)
    replica.on('ready', () => void this.#latencies.measure([replica]))
    replica.connect().catch(() => {})
    return replica
  }
}

/** As a master answers ROLE: `['master', offset, [[host, port, offset], ...]]`. */
function replicasIn(role: unknown): RedisEndpoint[] {
  const [kind, , replicas]: readonly unknown[] = Array.isArray(role) ? role : []
  if (kind !== 'master' || !Array.isArray(replicas)) return []
  return replicas.flatMap((replica: unknown) => {
    const [host, port]: readonly unknown[] = Array.isArray(replica) ? replica : []
    return typeof host === 'string' && Number(port) > 0 ? [{ host, port: Number(port) }] : []
  })
}
