import { isMultinodeError } from '../errors/multinode-error.ts'
import type { Clock, Timer } from '../runtime/clock.ts'
import { randomBetween } from '../runtime/random.ts'
import type { Lease } from './lease.ts'

/**
 * Extends a lease every third of its ttl until stopped; what the routine extended it for itself counts from then on. An attempt
 * that failed and may succeed later is repeated every 50 to 100 ms as long as the lease is held; attempts never overlap, and
 * each may take a sixth of the ttl, so that one lost answer leaves time for others. Losing the lease is announced by its own
 * signal, not from here.
 */
export class Renewal {
  readonly #lease: Lease
  readonly #clock: Clock
  readonly #callTimeoutMs: number
  #timer: Timer | undefined
  #stopped = false

  constructor(lease: Lease, callTimeoutMs: number, clock: Clock) {
    this.#lease = lease
    this.#clock = clock
    this.#callTimeoutMs = callTimeoutMs
    this.#schedule(lease.ttlMs / 3)
  }

  /** No attempt starts after this; one that is under way changes nothing any more. */
  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  #schedule(delayMs: number): void {
    this.#timer = this.#clock.setTimer(() => void this.#renew(), delayMs, 'background')
  }

  /** Never rejects: what cannot be repeated ends the lease, and that has its own announcement. */
  async #renew(): Promise<void> {
    const { ttlMs } = this.#lease
    let failed = false
    try {
      await this.#lease.extendWithin(
        ttlMs,
        Math.min(this.#callTimeoutMs, Math.max(50, Math.floor(ttlMs / 6))),
      )
    } catch (error) {
      // The lease keeps the reason, and tells it when it is lost.
      if (!isMultinodeError(error) || !error.retryable) return
      failed = true
    }
    if (this.#stopped || !this.#lease.held) return
    this.#schedule(failed ? randomBetween(50, 100) : this.#lease.ttlMs / 3)
  }
}
