import type { RedisClient, RedisConnection } from '@multinode/connection-redis'
import { type Clock, type Instant, MultinodeError } from '@multinode/core'

/** How much the server's clock is ahead of the monotonic one here: not less than `leastMs`, not more than `mostMs`. */
interface Lead {
  readonly at: Instant
  readonly leastMs: number
  readonly mostMs: number
  /** How long reads go by it. */
  readonly validMs: number
}

/** How long it counts, and how long when it says little, because the answer was late. One alone that says little counts for those who waited for it. */
const validMs = 5_000
const roughMs = 20
const roughValidMs = 200
/** How long it counts for what errs to the safe side. */
const guessMs = 60_000
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
    return this.#readyAt(this.#connection.nodeOf(key))
  }

  #readyAt(address: string): Promise<void> | undefined {
    const lead = this.#leads.get(address)
    if (lead !== undefined && this.#ageMs(lead) < lead.validMs) return undefined
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

  /**
   * What the server of this key has for the time, at the most, when so much has gone by here: what reaches it later comes then or after. Infinity when that is not known,
   * which is found out beside. Nothing waits for it.
   */
  deadline(key: string, timeoutMs: number): number {
    // A server that is away is told of by what is sent to it.
    const address = this.#connection.nodeOf(key)
    this.#readyAt(address)?.catch(() => {})
    const lead = this.#leads.get(address)
    if (lead === undefined || lead.mostMs - lead.leastMs > timeoutMs / 2) return Infinity
    const ageMs = this.#ageMs(lead)
    if (ageMs > guessMs) return Infinity
    return this.#clock.monotonicMs() + timeoutMs + lead.leastMs - ageMs * drift
  }

  /** Of the server of this key: what is known does not fit. */
  forget(key: string): void {
    this.#leads.delete(this.#connection.nodeOf(key))
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
      const lead = alone({ at, leastMs: serverMs - at.monotonicMs, mostMs: serverMs - sentMs })
      const before = this.#leads.get(address)
      this.#leads.delete(address)
      this.#leads.set(address, before === undefined ? lead : narrowed(lead, before))
    } finally {
      this.#asking.delete(address)
    }
  }
}

type Sample = Omit<Lead, 'validMs'>

function alone(sample: Sample): Lead {
  return { ...sample, validMs: isRough(sample) ? 0 : validMs }
}

function isRough({ leastMs, mostMs }: Sample): boolean {
  return mostMs - leastMs > roughMs
}

/** As narrow as both together say; what contradicts the newer one is over: a clock was set, or stood still. */
function narrowed(lead: Lead, before: Lead): Lead {
  const driftMs = (lead.at.monotonicMs - before.at.monotonicMs) * drift
  const leastMs = Math.max(lead.leastMs, before.leastMs - driftMs)
  const mostMs = Math.min(lead.mostMs, before.mostMs + driftMs)
  if (leastMs > mostMs) return lead
  const both = { at: lead.at, leastMs, mostMs }
  return { ...both, validMs: isRough(both) ? roughValidMs : validMs }
}

function serverAt(client: RedisClient, address: string): RedisClient {
  if (!('nodes' in client)) return client
  const masters = client.nodes('master')
  return masters.find(({ options }) => `${options.host}:${options.port}` === address) ?? client
}
