import { MultinodeError } from '../errors/multinode-error.ts'
import { checkMs } from '../runtime/check.ts'
import { elapsedMs, type Clock, type Instant, now, type Timer } from '../runtime/clock.ts'
import type { ExtendReply, ReleaseReply } from './lock-driver.ts'

/** What a lease needs from the lock it came from. */
export interface LeaseOwner {
  readonly clock: Clock
  readonly callTimeoutMs: number
  extend(ttlMs: number, timeoutMs: number): Promise<ExtendReply>
  release(): Promise<ReleaseReply>
  readonly report: (error: unknown) => void
  /** Called once, when the lease is lost or released. */
  ended(lease: Lease, how: 'lost' | 'released'): void
}

export interface Grant {
  readonly key: string
  readonly token: number
  readonly ttlMs: number
  /** When the request that was granted was sent: the server cannot have started the lease earlier. */
  readonly sentAt: Instant
}

export const minTtlMs = 10
/** How late at most a wall clock that ran ahead is noticed. */
const maxBlindMs = 1_000

/**
 * A lock that is held until a deadline. The deadline is computed on this side, from the moment the request was *sent*
 * plus the ttl, less 1 % and 2 ms for the drift of clocks, so it passes before the server's own expiry. Whether it has
 * passed is computed from clocks at each look ({@link held}) and is also announced by a timer ({@link signal}); neither
 * depends on an answer from the server.
 *
 * A lease cannot stop a paused process: what must be *correct* passes {@link token} to the resource it protects, on
 * reads and on writes, and the resource refuses smaller ones (Kleppmann, "How to do distributed locking", 2016).
 */
export class Lease implements AsyncDisposable {
  readonly key: string
  /**
   * The fencing token: a safe integer, strictly greater than that of every earlier grant of this key.
   */
  readonly token: number
  readonly #owner: LeaseOwner
  readonly #abort = new AbortController()
  #startedAt: Instant
  #lastExtension: Instant | undefined
  /** Why the last attempt to extend it failed: the cause, should it be lost. */
  #lastFailure: unknown
  #validForMs: number
  #ttlMs: number
  #state: 'held' | 'lost' | 'released' = 'held'
  #timer: Timer | undefined
  #releasing: Promise<ReleaseReply> | undefined

  constructor(grant: Grant, owner: LeaseOwner) {
    this.key = grant.key
    this.token = grant.token
    this.#owner = owner
    this.#startedAt = grant.sentAt
    this.#ttlMs = grant.ttlMs
    this.#validForMs = validityMs(grant.ttlMs)
    this.#watchDeadline()
  }

  /** Aborted, with a `LOST` error as its reason, as soon as the lease is lost; not when it is released. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** True while the lock is certainly ours. */
  get held(): boolean {
    return this.remainingMs() > 0
  }

  /** What the lease was last granted or extended for. */
  get ttlMs(): number {
    return this.#ttlMs
  }

  /** Milliseconds until the deadline; 0 once lost or released. */
  remainingMs(): number {
    if (this.#state !== 'held') return 0
    return Math.max(0, this.#validForMs - elapsedMs(this.#owner.clock, this.#startedAt))
  }

  /** Throws `LOST` unless the lock is certainly ours: to be called right before a step that must not run without it. */
  assertHeld(): void {
    this.throwIfLost()
    if (this.#state === 'released') throw this.#lostError('it was released')
  }

  /** As {@link assertHeld}, but content with a lease that was released. */
  throwIfLost(): void {
    if (this.#state === 'held' && !this.held) this.#lose('its time ran out')
    if (this.#state === 'lost') throw this.#abort.signal.reason
  }

  /**
   * Starts the lease anew with `ttlMs` (default: as before). One round trip.
   * @throws `LOST` when it is no longer ours (it never comes back), `TIMEOUT` or `UNAVAILABLE` when that is unknown: the
   * deadline is then the earlier of the old and the new one, and trying again is safe.
   */
  async extend(ttlMs: number = this.#ttlMs): Promise<void> {
    checkMs('ttlMs', ttlMs, { min: minTtlMs })
    await this.extendWithin(ttlMs, this.#owner.callTimeoutMs)
  }

  /** As {@link extend}, with a deadline of its own: for automatic renewal. */
  async extendWithin(ttlMs: number, timeoutMs: number): Promise<void> {
    this.assertHeld()
    const sentAt = now(this.#owner.clock)
    this.#lastExtension = sentAt
    // The server may start the shorter lease although its answer is late or lost.
    if (validityMs(ttlMs) < this.remainingMs()) this.#startAnew(sentAt, ttlMs)
    const reply = await this.#askToExtend(ttlMs, timeoutMs)
    this.throwIfLost()
    if (this.#state !== 'held') throw this.#lostError('it ended while it was being extended')
    if (reply !== 'extended') {
      this.#lose(reply === 'expired' ? 'it had expired on the server' : 'another owner has it')
      throw this.#lostError(`the server says ${reply}`)
    }
    // Where a later request is under way, the server may have answered that one already: its deadline rules.
    if (this.#lastExtension === sentAt) {
      this.#startAnew(sentAt, ttlMs)
      this.#ttlMs = ttlMs
    }
  }

  async #askToExtend(ttlMs: number, timeoutMs: number): Promise<ExtendReply> {
    try {
      const reply = await this.#owner.extend(ttlMs, timeoutMs)
      this.#lastFailure = undefined
      return reply
    } catch (error) {
      this.#lastFailure = error
      throw error
    }
  }

  /**
   * Gives the lock back; one round trip, however often it is called, and more only through a short outage. Says what it
   * found: `released`, or `expired` or `not-owner` when the lease had ended before. Rejects with `TIMEOUT` or `UNAVAILABLE`
   * when the server could not be asked within `callTimeoutMs`; the lock is then free after its ttl at the latest.
   */
  release(): Promise<ReleaseReply> {
    this.#releasing ??= this.#releaseOnce()
    return this.#releasing
  }

  /** As {@link release}, but a failure is reported on the cluster's `error` event: it must not replace the block's own. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release().catch(this.#owner.report)
  }

  /** For the owner: ends the lease on this side only. The server's lease runs out by itself. */
  abandon(reason: string): void {
    if (this.#state === 'held') this.#lose(reason)
  }

  #startAnew(sentAt: Instant, ttlMs: number): void {
    this.#startedAt = sentAt
    this.#validForMs = validityMs(ttlMs)
    this.#watchDeadline()
  }

  #releaseOnce(): Promise<ReleaseReply> {
    if (this.#state === 'held') {
      this.#state = 'released'
      this.#timer?.cancel()
      this.#owner.ended(this, 'released')
    }
    return this.#owner.release()
  }

  #watchDeadline(): void {
    this.#timer?.cancel()
    this.#timer = this.#owner.clock.setTimer(
      () => {
        if (this.#state !== 'held') return
        if (this.remainingMs() > 0) this.#watchDeadline()
        else this.#lose('its time ran out')
      },
      // Timers stand still in a suspended machine and fire a fraction early, so the clocks are asked each second.
      Math.min(maxBlindMs, Math.max(1, Math.ceil(this.remainingMs()))),
      'background',
    )
  }

  #lose(reason: string): void {
    this.#state = 'lost'
    this.#timer?.cancel()
    this.#abort.abort(this.#lostError(reason))
    this.#owner.ended(this, 'lost')
  }

  #lostError(reason: string): MultinodeError {
    return new MultinodeError(
      'LOST',
      `The lock ${JSON.stringify(this.key)} (token ${this.token}) is not held: ${reason}. ` +
        'Stop what it protected; acquire it again to go on.',
      {
        capability: 'lock',
        details: { key: this.key, token: this.token },
        ...(this.#lastFailure === undefined ? {} : { cause: this.#lastFailure }),
      },
    )
  }
}

/** The ttl less 1 % and 2 ms: room for a clock of the server that runs faster than ours. */
export function validityMs(ttlMs: number): number {
  return ttlMs * 0.99 - 2
}
