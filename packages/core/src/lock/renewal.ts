import { isMultinodeError } from '../errors/multinode-error.ts'
import type { Clock, Timer } from '../runtime/clock.ts'
import { randomBetween } from '../runtime/random.ts'
import type { Lease } from './lease.ts'

/**
 * Extends a lease every third of its ttl until stopped. A failed attempt is repeated every 50 to 100 ms as long as the
 * lease is held; attempts never overlap, and each may take a sixth of the ttl, so that one lost answer leaves time for
 * others. Losing the lease is announced by its own signal, not from here.
 */
export class Renewal {
  readonly #lease: Lease
  readonly #ttlMs: number
  readonly #clock: Clock
  readonly #attemptTimeoutMs: number
  #timer: Timer | undefined
  #stopped = false

  constructor(lease: Lease, ttlMs: number, callTimeoutMs: number, clock: Clock) {
    this.#lease = lease
    this.#ttlMs = ttlMs
    this.#clock = clock
    this.#attemptTimeoutMs = Math.min(callTimeoutMs, Math.max(50, Math.floor(ttlMs / 6)))
    this.#schedule(ttlMs / 3)
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
    let nextMs = this.#ttlMs / 3
    try {
      await this.#lease.extendWithin(this.#ttlMs, this.#attemptTimeoutMs)
    } catch (error) {
      if (isMultinodeError(error) && error.code === 'LOST') return
      nextMs = randomBetween(50, 100)
    }
    if (!this.#stopped && this.#lease.held) this.#schedule(nextMs)
  }
}
