import { type Clock, Deadlines, MultinodeError } from '@multinode/core'
import { isClusterDown, toRedisError } from './redis-errors.ts'
import type { RunningCall } from './running-call.ts'

/** Sends something; after its call is over it sends nothing more. */
export type Work<T> = (call: RunningCall) => Promise<T>

/** How long a Cluster is left alone that does not serve a slot for the moment. */
const clusterDownMs = 100

/** Work of which every call settles by its deadline, with our errors. */
export class SettledCalls {
  readonly #address: string
  readonly #clock: Clock
  readonly #deadlines: Deadlines

  constructor(address: string, clock: Clock) {
    this.#address = address
    this.#clock = clock
    this.#deadlines = new Deadlines(clock)
  }

  /**
   * As `withDeadline`, without a promise more.
   * @param refresh where a Cluster that is down is asked again within the deadline: called before each time
   */
  settle<T>(
    operation: string,
    timeoutMs: number,
    work: Work<T>,
    refresh: (() => void) | undefined,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      let refused: MultinodeError | undefined
      const call = this.#deadlines.begin(timeoutMs, () =>
        reject(refused ?? this.#timeout(operation, timeoutMs)),
      )
      const fail = (error: unknown): void => {
        const failure = toRedisError(error, { address: this.#address, operation, outcome: 'unknown' })
        if (refresh !== undefined && !call.isOver && isClusterDown(error)) {
          refused = failure
          this.#clock.setTimer(again, clusterDownMs, 'background')
          return
        }
        call.isOver = true
        setImmediate(reject, failure)
      }
      const begin = (): void => {
        try {
          work(call).then((value) => {
            call.isOver = true
            resolve(value)
          }, fail)
        } catch (error) {
          fail(error)
        }
      }
      const again = (): void => {
        if (call.isOver) return
        refused = undefined
        refresh?.()
        begin()
      }
      begin()
    })
  }

  #timeout(operation: string, timeoutMs: number): MultinodeError {
    return new MultinodeError(
      'TIMEOUT',
      `Redis at ${this.#address}: no answer to ${operation} within ${timeoutMs} ms. It may still take effect; ` +
        'check the server and the network, then try again.',
      { backend: 'redis', outcome: 'unknown', details: { address: this.#address, operation, timeoutMs } },
    )
  }
}
