import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { elapsedMs, type Instant, now } from '../runtime/clock.ts'
import type { DriverCalls } from '../runtime/driver-calls.ts'
import { randomBetween } from '../runtime/random.ts'
import type { LeaseTarget } from './lease-target.ts'
import type { AcquireReply, LockDriver } from './lock-driver.ts'
import { validityMs } from './lease.ts'

export interface AcquisitionRequest {
  readonly key: string
  readonly owner: string
  readonly ttlMs: number
  readonly waitMs: number
  /** The caller's own, ends the waiting. */
  readonly signal: AbortSignal | undefined
}

export interface Acquired {
  readonly token: number
  readonly sentAt: Instant
}

/** The longest pause between two attempts: bounds what a lost push costs. */
const maxPauseMs = 5_000
/** The longest pause where nobody will push. */
const maxPollMs = 100

/**
 * One acquisition from its first attempt to its grant, its refusal or its end. An acquisition that rejects may have
 * left something on the server: its caller must cancel it there.
 */
export class Acquisition {
  readonly #request: AcquisitionRequest
  readonly #target: LeaseTarget
  readonly #driver: LockDriver
  readonly #calls: DriverCalls
  readonly #context: CapabilityContext
  /** Waiting goes by the monotonic clock alone: a wall clock that is set must not end it. */
  readonly #startedAtMs: number
  /** Ends the pause or the attempt that is under way. */
  #interrupt: (() => void) | undefined
  #pushed = false
  #mayBeKnown = false
  #ended: MultinodeError | undefined

  constructor(
    request: AcquisitionRequest,
    target: LeaseTarget,
    driver: LockDriver,
    calls: DriverCalls,
    context: CapabilityContext,
  ) {
    this.#request = request
    this.#target = target
    this.#driver = driver
    this.#calls = calls
    this.#context = context
    this.#startedAtMs = context.clock.monotonicMs()
  }

  get key(): string {
    return this.#request.key
  }

  /** Whether any attempt may have reached the backend, so that there may be something to undo. */
  get mayBeKnown(): boolean {
    return this.#mayBeKnown
  }

  /** Makes the acquisition reject with `reason` now. */
  end(reason: MultinodeError): void {
    this.#ended ??= reason
    this.#interrupt?.()
  }

  /** A single attempt: `undefined` when another holds the lock. */
  async once(): Promise<Acquired | undefined> {
    this.#throwIfEnded()
    const outcome = await this.#untilEnded(this.#attempt(0))
    if ('token' in outcome) return outcome
    if (outcome.tooLate) throw this.#gaveUp()
    return undefined
  }

  /** Attempts until granted, until `waitMs` is over (`TIMEOUT`) or until a signal ends it. Repeats retryable failures. */
  async untilGranted(): Promise<Acquired> {
    const stopListening = this.#listen()
    try {
      for (;;) {
        this.#throwIfEnded()
        const outcome = await this.#attemptOrRetry()
        if ('token' in outcome) return outcome
        if (this.#remainingMs() > 0) await this.#pause(outcome.retryAfterMs)
        if (this.#remainingMs() <= 0) throw this.#gaveUp(outcome.failure)
      }
    } finally {
      stopListening()
    }
  }

  async #attemptOrRetry(): Promise<Acquired | { retryAfterMs: number; failure?: MultinodeError }> {
    try {
      return await this.#untilEnded(this.#attempt(this.#remainingMs()))
    } catch (error) {
      if (!isMultinodeError(error) || !error.retryable) throw error
      return { retryAfterMs: randomBetween(50, 100), failure: error }
    }
  }

  async #attempt(waitMs: number): Promise<Acquired | { retryAfterMs: number; tooLate: boolean }> {
    const { owner, ttlMs } = this.#request
    const { verbs, driverKey: key } = this.#target
    const timeoutMs = this.#attemptTimeoutMs()
    const sentAt = now(this.#context.clock)
    const wasKnown = this.#mayBeKnown
    this.#mayBeKnown = true
    try {
      const reply = await this.#calls.call('acquire', timeoutMs, () =>
        verbs.acquire({ key, owner, ttlMs, waitMs: Math.ceil(waitMs) }, timeoutMs),
      )
      return this.#judge(reply, sentAt)
    } catch (error) {
      if (isMultinodeError(error) && error.outcome === 'not-sent') this.#mayBeKnown = wasKnown
      throw error
    }
  }

  /** A grant whose answer took longer than the lease is none; asking again as the same owner starts it anew. */
  #judge(reply: AcquireReply, sentAt: Instant): Acquired | { retryAfterMs: number; tooLate: boolean } {
    if (reply.status === 'cancelled') throw this.#aborted()
    if (reply.status === 'busy') return { retryAfterMs: reply.retryAfterMs, tooLate: false }
    const tooLate = elapsedMs(this.#context.clock, sentAt) >= validityMs(this.#request.ttlMs)
    return tooLate ? { retryAfterMs: 0, tooLate } : { token: reply.token, sentAt }
  }

  /**
   * All attempts together settle within the longer of `waitMs` and `callTimeoutMs`, plus a tenth for the last one: an
   * eleventh here, because {@link DriverCalls} adds 5 % to it.
   */
  #attemptTimeoutMs(): number {
    const overallMs = Math.max(this.#request.waitMs, this.#context.callTimeoutMs)
    const atLeastMs = Math.max(1, Math.floor(overallMs / 11))
    const leftMs = Math.floor(overallMs - this.#elapsedMs())
    return Math.min(this.#context.callTimeoutMs, Math.max(leftMs, atLeastMs))
  }

  #remainingMs(): number {
    return Math.max(0, this.#request.waitMs - this.#elapsedMs())
  }

  #elapsedMs(): number {
    return this.#context.clock.monotonicMs() - this.#startedAtMs
  }

  /** Rejects at once when ended: the caller's cancel undoes the attempt that is still under way. */
  #untilEnded<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#interrupt = () => {
        if (this.#ended === undefined) this.#pushed = true
        else reject(this.#ended)
      }
      work.then(resolve, reject)
    })
  }

  /** Until pushed, ended, or for the time the driver named; jitter keeps waiters from asking in step. */
  #pause(retryAfterMs: number): Promise<void> {
    const longestMs = this.#driver.onWake === undefined ? maxPollMs : maxPauseMs
    const pauseMs = Math.min(retryAfterMs, longestMs) * (1 + Math.random() / 10)
    return new Promise((resolve) => {
      if (this.#pushed || this.#ended !== undefined) {
        this.#pushed = false
        resolve()
        return
      }
      const delayMs = Math.min(Math.max(1, pauseMs), this.#remainingMs())
      const timer = this.#context.clock.setTimer(resolve, delayMs, 'foreground')
      this.#interrupt = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  #listen(): () => void {
    const { owner, signal } = this.#request
    const onAbort = (): void => this.end(this.#aborted())
    const stopPush = this.#driver.onWake?.(owner, () => this.#interrupt?.())
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted === true) onAbort()
    return () => {
      stopPush?.()
      signal?.removeEventListener('abort', onAbort)
    }
  }

  #throwIfEnded(): void {
    if (this.#ended !== undefined) throw this.#ended
  }

  #aborted(): MultinodeError {
    const { key, signal } = this.#request
    return new MultinodeError('ABORTED', `Waiting for the lock ${JSON.stringify(key)} was aborted.`, {
      capability: 'lock',
      cause: signal?.reason,
      details: { key },
    })
  }

  #gaveUp(failure?: MultinodeError): MultinodeError {
    if (failure !== undefined) return failure
    const { key, waitMs } = this.#request
    return new MultinodeError(
      'TIMEOUT',
      `The lock ${JSON.stringify(key)} was not granted within ${waitMs} ms (waitMs): others held it, or the ` +
        'answer took longer than the lease. Try again later, or wait longer.',
      { capability: 'lock', backend: this.#context.backend, details: { key, waitMs } },
    )
  }
}
