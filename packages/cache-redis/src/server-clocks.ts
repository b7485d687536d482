import type { RedisClient, RedisConnection } from '@multinode/connection-redis'
import { type Clock, type Instant, MultinodeError } from '@multinode/core'

/** How much the server's clock is ahead of the monotonic one here: not less than `leastMs`, not more than `mostMs`. */
interface Lead {
  readonly at: Instant
  readonly leastMs: number
  readonly mostMs: number
}

/** How long it counts, and how long when it says little, because the answer was late. */
const validMs = 5_000
const roughMs = 20
const roughValidMs = 200
/** By how much two clocks run apart, at the most. */
const drift = 0.001

/**
 * What each server takes for the time: asked for now and then beside other commands, and carried on with this process's monotonic clock. Never ahead of it, and
 * behind by the shortest round trip at most; a server whose clock is set is followed within 5 s.
 */
export class ServerClocks {
  readonly #connection: RedisConnection
  readonly #clock: Clock
  readonly #leads = new Map<string, Lead>()
  readonly #asking = new Map<string, Promise<void>>()

  constructor(connection: RedisConnection, clock: Clock) {
    this.#connection = connection
    this.#clock = clock
    // It may be another server now.
    connection.client.on('ready', () => this.#leads.clear())
  }

  /** To be awaited beside a read of this key; undefined when there is nothing to wait for. */
  ready(key: string): Promise<void> | undefined {
    const address = this.#connection.nodeOf(key)
    const lead = this.#leads.get(address)
    if (lead !== undefined && this.#ageMs(lead) < validMsOf(lead)) return undefined
    const asking = this.#asking.get(address) ?? this.#ask(address)
    this.#asking.set(address, asking)
    return asking
  }

  /** The time on the server of this key, after {@link ready}. */
  nowMs(key: string): number {
    const lead = this.#leads.get(this.#connection.nodeOf(key)) ?? this.#newest()
    if (lead !== undefined) return this.#clock.monotonicMs() + lead.leastMs
    throw new MultinodeError('UNAVAILABLE', `Redis at ${this.#connection.address} was replaced; try again.`, {
      backend: 'redis',
    })
  }

  /** The longer of both: the monotonic clock stands still while the machine is suspended. */
  #ageMs({ at }: Lead): number {
    return Math.max(this.#clock.monotonicMs() - at.monotonicMs, Math.abs(this.#clock.wallMs() - at.wallMs))
  }

  /** For a slot that moved to a server that has not been asked: about as right. */
  #newest(): Lead | undefined {
    return [...this.#leads.values()].at(-1)
  }

  async #ask(address: string): Promise<void> {
    try {
      const sentMs = this.#clock.monotonicMs()
      const [seconds, micros] = await serverAt(this.#connection.client, address).time()
      const at = { monotonicMs: this.#clock.monotonicMs(), wallMs: this.#clock.wallMs() }
      const serverMs = Number(seconds) * 1_000 + Number(micros) / 1_000
      const lead = { at, leastMs: serverMs - at.monotonicMs, mostMs: serverMs - sentMs }
      const before = this.#leads.get(address)
      this.#leads.delete(address)
      this.#leads.set(address, before === undefined ? lead : narrowed(lead, before))
    } finally {
      this.#asking.delete(address)
    }
  }
}

function validMsOf({ leastMs, mostMs }: Lead): number {
  return mostMs - leastMs > roughMs ? roughValidMs : validMs
}

/** As narrow as both together say; what contradicts the newer one is over: a clock was set, or stood still. */
function narrowed(lead: Lead, before: Lead): Lead {
  const driftMs = (lead.at.monotonicMs - before.at.monotonicMs) * drift
  const leastMs = Math.max(lead.leastMs, before.leastMs - driftMs)
  const mostMs = Math.min(lead.mostMs, before.mostMs + driftMs)
  return leastMs <= mostMs ? { at: lead.at, leastMs, mostMs } : lead
}

function serverAt(client: RedisClient, address: string): RedisClient {
  if (!('nodes' in client)) return client
  const masters = client.nodes('master')
  return masters.find(({ options }) => `${options.host}:${options.port}` === address) ?? client
}
