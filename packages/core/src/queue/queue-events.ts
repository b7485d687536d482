import type { MultinodeError } from '../errors/multinode-error.ts'
import type { DeadReason } from './queue-driver.ts'

/** What happens to the jobs of a queue **on this node**. */
export interface QueueEvents {
  /** Its handler begins. */
  active: { readonly id: string; readonly attempt: number }
  /** Its handler resolved. Told before that is stored: `settle-ignored` follows if this node learns that it was not. */
  completed: { readonly id: string; readonly attempt: number; readonly durationMs: number }
  /** Its handler rejected, or took too long. */
  failed: {
    readonly id: string
    readonly attempt: number
    readonly error: unknown
    readonly willRetry: boolean
  }
  /** It comes again. */
  retry: { readonly id: string; readonly attempt: number; readonly delayMs: number }
  /** It became a dead letter. */
  dead: {
    readonly id: string
    readonly attempt: number
    readonly reason: DeadReason
    readonly error: unknown
  }
  /** It was not started in time, and is gone. */
  expired: { readonly id: string }
  /** It was taken from a worker that is gone, and waits again. */
  stalled: { readonly id: string }
  /** It may run elsewhere, although its handler still runs here. */
  'lock-lost': { readonly id: string }
  /** What became of it could not be stored: it may run again. */
  'settle-ignored': { readonly id: string; readonly error?: MultinodeError }
}

export type QueueListener<E extends keyof QueueEvents> = (event: QueueEvents[E]) => void | Promise<void>

export const queueEventNames: readonly (keyof QueueEvents)[] = [
  'active',
  'completed',
  'failed',
  'retry',
  'dead',
  'expired',
  'stalled',
  'lock-lost',
  'settle-ignored',
]

type Listeners = { [E in keyof QueueEvents]?: Set<QueueListener<E>> }

/** A listener that throws or rejects is reported, and keeps nobody from anything. */
export class QueueEmitter {
  readonly #report: (error: unknown) => void
  readonly #listeners: Listeners = {}

  constructor(report: (error: unknown) => void) {
    this.#report = report
  }

  on<E extends keyof QueueEvents>(name: E, listener: QueueListener<E>): void {
    const set: Set<QueueListener<E>> = this.#listeners[name] ?? new Set()
    set.add(listener)
    Object.assign(this.#listeners, { [name]: set })
  }

  off<E extends keyof QueueEvents>(name: E, listener: QueueListener<E>): void {
    this.#listeners[name]?.delete(listener)
  }

  emit<E extends keyof QueueEvents>(name: E, event: QueueEvents[E]): void {
    const listeners = this.#listeners[name]
    if (listeners === undefined) return
    for (const listener of listeners) void this.#tell(listener, event)
  }

  async #tell<E extends keyof QueueEvents>(listener: QueueListener<E>, event: QueueEvents[E]): Promise<void> {
    try {
      await listener(event)
    } catch (error) {
      this.#report(error)
    }
  }
}
