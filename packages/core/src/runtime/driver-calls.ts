import { toDriverError } from '../errors/to-driver-error.ts'
import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityContext } from './capability-context.ts'
import { pause } from './clock.ts'
import { withDeadline } from './deadline.ts'
import { randomBetween } from './random.ts'

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
   * long as `isWanted`. A connection that breaks together with an answer is back in milliseconds.
   */
  async insist<T>(
    operation: string,
    work: (timeoutMs: number) => Promise<T>,
    isWanted: () => boolean,
  ): Promise<T> {
    const { clock, callTimeoutMs } = this.#context
    const untilMs = clock.monotonicMs() + callTimeoutMs
    for (;;) {
      const leftMs = Math.max(1, Math.floor(untilMs - clock.monotonicMs()))
      try {
        return await this.call(operation, leftMs, () => work(leftMs))
      } catch (error) {
        const pauseMs = randomBetween(50, 100)
        const isWorthIt =
          isMultinodeError(error) && error.retryable && clock.monotonicMs() + pauseMs < untilMs
        if (!isWorthIt || !isWanted()) throw error
        await pause(clock, pauseMs)
      }
    }
  }
}
