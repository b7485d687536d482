import { toDriverError } from '../errors/to-driver-error.ts'
import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityContext } from './capability-context.ts'
import { pause } from './clock.ts'
import { withDeadline } from './deadline.ts'
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

  async call<T>(operation: string, timeoutMs: number, work: () => Promise<T>): Promise<T> {
    const { capability, backend, clock } = this.#context
    try {
      return await withDeadline(clock, timeoutMs * 1.05, work(), () => {
        return new MultinodeError(
          'TIMEOUT',
          `${capability} on ${backend}: ${operation} was not answered within ${timeoutMs} ms. ` +
            'It may still take effect; check the backend, then try again.',
          { capability, backend, outcome: 'unknown', details: { operation, timeoutMs } },
        )
      })
    } catch (error) {
      throw toDriverError(error, { capability, backend, operation })
    }
  }

  /**
   * As {@link call}, for what may be repeated without harm: goes on through short outages, within `callTimeoutMs` in all, as
   * long as `isWanted`. A connection that breaks together with an answer is back in milliseconds, so the first pauses are short; later ones grow, because
   * thousands of calls that wait for a longer outage would keep the event loop busy with being refused.
   */
  async insist<T>(
    operation: string,
    work: (timeoutMs: number) => Promise<T>,
    isWanted: () => boolean,
  ): Promise<T> {
    const { clock, callTimeoutMs } = this.#context
    const startedAtMs = clock.monotonicMs()
    const untilMs = startedAtMs + callTimeoutMs
    for (;;) {
      const leftMs = Math.max(1, Math.floor(untilMs - clock.monotonicMs()))
      try {
        return await this.call(operation, leftMs, () => work(leftMs))
      } catch (error) {
        const pauseMs = pauseAfter(clock.monotonicMs() - startedAtMs)
        const restMs = untilMs - clock.monotonicMs() - pauseMs
        const isWorthIt = isMultinodeError(error) && error.retryable && restMs >= shortestCallMs
        if (!isWorthIt || !isWanted()) throw error
        await pause(clock, pauseMs)
      }
    }
  }
}

/** With jitter, up to a quarter of the outage so far. */
function pauseAfter(elapsedMs: number): number {
  const longestMs = Math.min(maxPauseMs, Math.max(minPauseMs, Math.round(elapsedMs / 4)))
  return randomBetween(Math.round(longestMs / 2), longestMs)
}
