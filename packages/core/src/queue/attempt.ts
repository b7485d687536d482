import { MultinodeError } from '../errors/multinode-error.ts'
import type { Clock, Timer } from '../runtime/clock.ts'
import type { AbortReason, Job } from './job.ts'

/** How a handler's run ended. `abandoned`: it went on after its signal was aborted for longer than it may. */
export type AttemptEnd =
  | { readonly type: 'completed' }
  | { readonly type: 'failed'; readonly error: unknown }
  | { readonly type: 'abandoned' }

export interface AttemptLimits {
  readonly timeoutMs: number | undefined
  readonly handlerGraceMs: number
  readonly clock: Clock
}

/** One run of one handler: what it ends with, and what made it end. */
export class Attempt {
  readonly job: Job
  readonly #limits: AttemptLimits
  #reason: AbortReason | undefined
  #timer: Timer | undefined
  #end: ((end: AttemptEnd) => void) | undefined

  constructor(job: Job, limits: AttemptLimits) {
    this.job = job
    this.#limits = limits
  }

  /** Why its signal was aborted, if it was. */
  get reason(): AbortReason | undefined {
    return this.#reason
  }

  /** Called once. Never rejects. */
  async run(handler: (job: Job) => unknown): Promise<AttemptEnd> {
    const { timeoutMs, clock } = this.#limits
    if (timeoutMs !== undefined && this.#reason === undefined)
      this.#timer = clock.setTimer(() => this.abort('timeout'), timeoutMs, 'foreground')
    const end = await new Promise<AttemptEnd>((resolve) => {
      this.#end = resolve
      void settle(handler, this.job).then(resolve)
    })
    this.#timer?.cancel()
    return end
  }

  /** The first reason counts. */
  abort(reason: AbortReason): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#timer?.cancel()
    this.job.abort(reason)
    const { clock, handlerGraceMs } = this.#limits
    this.#timer = clock.setTimer(() => this.abandon(), handlerGraceMs, 'foreground')
  }

  /** Its handler is not waited for any longer. */
  abandon(): void {
    this.#end?.({ type: 'abandoned' })
  }
}

async function settle(handler: (job: Job) => unknown, job: Job): Promise<AttemptEnd> {
  try {
    await handler(job)
    return { type: 'completed' }
  } catch (error) {
    return { type: 'failed', error }
  }
}

/** What an attempt failed with that took too long. */
export function timedOut({ id, queue }: Job, timeoutMs: number | undefined, cause: unknown): MultinodeError {
  return new MultinodeError(
    'TIMEOUT',
    `A job of ${queue} took longer than ${String(timeoutMs)} ms (timeoutMs); its signal was aborted.`,
    { capability: 'queue', details: { queue, id, timeoutMs }, ...(cause === undefined ? {} : { cause }) },
  )
}
