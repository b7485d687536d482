import { type Clock, withDeadline } from '@multinode/core'
import type { Redis } from 'ioredis'
import type { ReadRoute } from './redis-target.ts'

/** How often replicas are looked for, and how fast they answer is measured. */
export const measureEveryMs = 10_000
const pingMs = 1_000
/** How much one measurement counts against those before. */
const weight = 0.3

/** How fast each server answers, so that reads go to the nearest, and to none that does not answer. */
export class Latencies {
  readonly #clock: Clock
  readonly #meanMs = new WeakMap<Redis, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** One PING to each; resolves when all have answered or had their time. */
  async measure(servers: readonly Redis[]): Promise<void> {
    await Promise.all(servers.map((server) => this.#measureOne(server)))
  }

  /** Of one that is not measured yet it is not known. */
  of(server: Redis): number | undefined {
    return this.#meanMs.get(server)
  }

  async #measureOne(server: Redis): Promise<void> {
    const startedAtMs = this.#clock.monotonicMs()
    try {
      await withDeadline(this.#clock, pingMs, server.ping(), () => new Error('no answer'))
      const tookMs = this.#clock.monotonicMs() - startedAtMs
      const before = this.#meanMs.get(server) ?? Infinity
      this.#meanMs.set(server, before === Infinity ? tookMs : before + (tookMs - before) * weight)
    } catch {
      this.#meanMs.set(server, Infinity)
    }
  }
}

/** The server that a read goes to; `undefined` when only the master is left, and the read may as well take the usual way. */
export function chooseServer(
  { to, by }: ReadRoute,
  master: Redis | undefined,
  replicas: readonly Redis[],
  latencies: Latencies,
): Redis | undefined {
  const servers = to === 'all' && master !== undefined ? [master, ...replicas] : replicas
  const candidates = servers.filter(
    (server) => server.status === 'ready' && latencies.of(server) !== Infinity,
  )
  if (by === 'random') return candidates[Math.floor(Math.random() * candidates.length)]
  const known = (server: Redis): number => latencies.of(server) ?? Number.MAX_VALUE
  return candidates.toSorted((one, other) => known(one) - known(other))[0]
}
