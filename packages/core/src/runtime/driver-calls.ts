import { toDriverError } from '../errors/to-driver-error.ts'
import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityContext } from './capability-context.ts'
import { pause } from './clock.ts'
import { randomBetween } from './random.ts'

const minPauseMs = 100
const maxPauseMs = 500
/** A last attempt that has less time left would only hide why the others failed. */
const shortestCallMs = 50

/**
 * How every portable type calls its driver: with a deadline of core's own, and with failures wrapped exactly once.
 * Drivers keep their own deadline (they know whether a request left); this one comes 5 % later and is for those
 * that fail to.
 */
export class DriverCalls {
  readonly #context: CapabilityContext

  constructor(context: CapabilityContext) {
    this.#context = context
  }

  // Not async, and nor is `insist` while all goes well: each layer of that costs as much as a timer.
  call<T>(operation: string, timeoutMs: number, work: () => Promise<T>): Promise<T> {
    const { capability, backend, clock } = this.#context
    return new Promise((resolve, reject) => {
      const timer = clock.setTimer(
        () => reject(this.#late(operation, timeoutMs)),
        timeoutMs * 1.05,
        'foreground',
      )
      const fail = (error: unknown): void => {
        timer.cancel()
        reject(toDriverError(error, { capability, backend, operation }))
      }
      try {
        // A driver in plain JavaScript may return without a promise.
        Promise.resolve(work()).then((value) => {
          timer.cancel()
          resolve(value)
        }, fail)
      } catch (error) {
        fail(error)
      }
    })
  }

  /**
   * As {@link call}, for what may be repeated without harm: goes on through short outages, within `callTimeoutMs` in all, as
   * long as `isWanted`. A connection that breaks together with an answer is back in milliseconds, so the first pauses are short; later ones grow, because
   * thousands of calls that wait for a longer outage would keep the event loop busy with being refused.
   */
  insist<T>(operation: string, work: (timeoutMs: number) => Promise<T>, isWanted: () => boolean): Promise<T> {
    const { clock, callTimeoutMs } = this.#context
    const startedAtMs = clock.monotonicMs()
    const attempt = (leftMs: number): Promise<T> => this.call(operation, leftMs, () => work(leftMs))
    return attempt(callTimeoutMs).catch((error: unknown) =>
      this.#repeat(attempt, error, startedAtMs, isWanted),
    )
  }

  async #repeat<T>(
    attempt: (leftMs: number) => Promise<T>,
    firstError: unknown,
    startedAtMs: number,
    isWanted: () => boolean,
  ): Promise<T> {
    const { clock, callTimeoutMs } = this.#context
    const untilMs = startedAtMs + callTimeoutMs
    for (let error = firstError; ;) {
      const pauseMs = pauseAfter(clock.monotonicMs() - startedAtMs)
      const restMs = untilMs - clock.monotonicMs() - pauseMs
      const isWorthIt = isMultinodeError(error) && error.retryable && restMs >= shortestCallMs
      if (!isWorthIt || !isWanted()) throw error
      await pause(clock, pauseMs)
      try {
        return await attempt(Math.max(1, Math.floor(untilMs - clock.monotonicMs())))
      } catch (next) {
        error = next
      }
    }
  }

  #late(operation: string, timeoutMs: number): MultinodeError {
    const { capability, backend } = this.#context
    return new MultinodeError(
      'TIMEOUT',
      `${capability} on ${backend}: ${operation} was not answered within ${timeoutMs} ms. ` +
        'It may still take effect; check the backend, then try again.',
      { capability, backend, outcome: 'unknown', details: { operation, timeoutMs } },
    )
  }
}

/** With jitter, up to a quarter of the outage so far. */
function pauseAfter(elapsedMs: number): number {
  const longestMs = Math.min(maxPauseMs, Math.max(minPauseMs, Math.round(elapsedMs / 4)))
  return randomBetween(Math.round(longestMs / 2), longestMs)
}
