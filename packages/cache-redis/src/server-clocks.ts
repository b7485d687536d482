import type { RedisClient, RedisConnection } from '@multinode/connection-redis'
import { type Clock, type Instant, MultinodeError } from '@multinode/core'

interface Sample {
  readonly at: Instant
  readonly serverMs: number
  readonly validMs: number
}

const validMs = 5_000
/** What took longer says less. */
const preciseMs = 20
const impreciseValidMs = 200

/**
 * What each server takes for the time: asked for now and then beside other commands, and carried on with this process's monotonic clock. Accurate to
 * half a round trip; a server whose clock is set is followed within 5 s.
 */
export class ServerClocks {
  readonly #connection: RedisConnection
  readonly #clock: Clock
  readonly #samples = new Map<string, Sample>()
  readonly #asking = new Map<string, Promise<void>>()

  constructor(connection: RedisConnection, clock: Clock) {
    this.#connection = connection
    this.#clock = clock
    // It may be another server now.
    connection.client.on('ready', () => this.#samples.clear())
  }

  /** To be awaited beside a read of this key; undefined when there is nothing to wait for. */
  ready(key: string): Promise<void> | undefined {
    const address = this.#connection.nodeOf(key)
    const sample = this.#samples.get(address)
    if (sample !== undefined && this.#elapsedMs(sample) < sample.validMs) return undefined
    const asking = this.#asking.get(address) ?? this.#ask(address)
    this.#asking.set(address, asking)
    return asking
  }

  /** The time on the server of this key, after {@link ready}. */
  nowMs(key: string): number {
    const sample = this.#samples.get(this.#connection.nodeOf(key)) ?? this.#newest()
    if (sample === undefined) {
      throw new MultinodeError(
        'UNAVAILABLE',
        `Redis at ${this.#connection.address} was replaced; try again.`,
        {
          backend: 'redis',
        },
      )
    }
    return sample.serverMs + this.#clock.monotonicMs() - sample.at.monotonicMs
  }

  /** The longer of both: the monotonic clock stands still while the machine is suspended. */
  #elapsedMs({ at }: Sample): number {
    return Math.max(this.#clock.monotonicMs() - at.monotonicMs, Math.abs(this.#clock.wallMs() - at.wallMs))
  }

  /** For a slot that moved to a server that has not been asked: about as right. */
  #newest(): Sample | undefined {
    return [...this.#samples.values()].at(-1)
  }

  async #ask(address: string): Promise<void> {
    try {
      const sentMs = this.#clock.monotonicMs()
      const [seconds, micros] = await serverAt(this.#connection.client, address).time()
      const at = { monotonicMs: this.#clock.monotonicMs(), wallMs: this.#clock.wallMs() }
      const tookMs = at.monotonicMs - sentMs
      const serverMs = Number(seconds) * 1_000 + Number(micros) / 1_000 + tookMs / 2
      this.#samples.delete(address)
      this.#samples.set(address, {
        at,
        serverMs,
        validMs: tookMs > preciseMs ? impreciseValidMs : validMs,
      })
    } finally {
      this.#asking.delete(address)
    }
  }
}

function serverAt(client: RedisClient, address: string): RedisClient {
  if (!('nodes' in client)) return client
  const masters = client.nodes('master')
  return masters.find(({ options }) => `${options.host}:${options.port}` === address) ?? client
}
