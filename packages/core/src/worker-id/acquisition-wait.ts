import { MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import type { Wanted } from './acquire-options.ts'

/** Nobody tells that an id was released, so it is asked for each second. */
const maxPauseMs = 1_000

/** How long one acquisition may still take, and what ends it before. */
export class AcquisitionWait {
  readonly #wanted: Wanted
  readonly #context: CapabilityContext
  readonly #startedAtMs: number
  readonly #onAbort = (): void => this.end(this.#aborted())
  #interrupt: (() => void) | undefined
  #ended: MultinodeError | undefined

  constructor(wanted: Wanted, context: CapabilityContext) {
    this.#wanted = wanted
    this.#context = context
    this.#startedAtMs = context.clock.monotonicMs()
    wanted.signal?.addEventListener('abort', this.#onAbort)
    if (wanted.signal?.aborted === true) this.#onAbort()
  }

  get ended(): MultinodeError | undefined {
    return this.#ended
  }

  /** Makes what is awaited reject with `reason` now. */
  end(reason: MultinodeError): void {
    this.#ended ??= reason
    this.#interrupt?.()
  }

  stop(): void {
    this.#wanted.signal?.removeEventListener('abort', this.#onAbort)
  }

  /** Within it all attempts together settle, plus a tenth for the last one. */
  get #overallMs(): number {
    return Math.max(this.#wanted.waitMs, this.#context.callTimeoutMs)
  }

  attemptTimeoutMs(): number {
    const { callTimeoutMs } = this.#context
    const overallMs = this.#overallMs
    const leftMs = Math.floor(overallMs - this.#elapsedMs())
    return Math.min(callTimeoutMs, Math.max(leftMs, Math.max(1, Math.floor(overallMs / 11))))
  }

  async untilEnded<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#interrupt = () => reject(this.#ended)
      if (this.#ended !== undefined) this.#interrupt()
      work.then(resolve, reject)
    })
  }

  /** Until `afterMs`, at most a second. False when the time to wait is over. */
  async pause(afterMs: number): Promise<boolean> {
    return this.#pauseWithin(this.#wanted.waitMs, afterMs)
  }

  /** Where an attempt told nothing: another one follows at once, also when there is no time to wait. False when that of a call is over, too. */
  async again(): Promise<boolean> {
    return this.#pauseWithin(this.#overallMs, 1)
  }

  async #pauseWithin(mostMs: number, afterMs: number): Promise<boolean> {
    const leftMs = mostMs - this.#elapsedMs()
    if (leftMs <= 0) return false
    // Jitter, so that nodes that start together do not ask in step.
    const pauseMs = Math.min(afterMs, maxPauseMs) * (1 + Math.random() / 10)
    const delayMs = Math.max(1, Math.ceil(Math.min(pauseMs, leftMs)))
    await new Promise<void>((resolve, reject) => {
      const timer = this.#context.clock.setTimer(resolve, delayMs, 'foreground')
      this.#interrupt = () => {
        timer.cancel()
        reject(this.#ended)
      }
      if (this.#ended !== undefined) this.#interrupt()
    })
    return true
  }

  #elapsedMs(): number {
    return this.#context.clock.monotonicMs() - this.#startedAtMs
  }

  #aborted(): MultinodeError {
    return new MultinodeError('ABORTED', 'Waiting for a worker id was aborted.', {
      capability: 'workerid',
      cause: this.#wanted.signal?.reason,
    })
  }
}
