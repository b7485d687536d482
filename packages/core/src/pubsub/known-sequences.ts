import type { IncomingSignal } from './pubsub-driver.ts'

/** Sources that went are forgotten in time; each costs some hundred bytes. */
const mostSources = 10_000

/** What was received of each publisher, so that what comes twice is left out. */
export class KnownSequences {
  readonly #last = new Map<string, number>()

  /** Whether it came before; else it is known from now on. Transient signals have no number. */
  isRepeated({ source, lane, sequence }: IncomingSignal): boolean {
    if (sequence === 0) return false
    const name = `${lane} ${source}`
    const last = this.#last.get(name) ?? 0
    if (sequence <= last) return true
    // The one that was heard of last comes last, so the first one is the one to forget.
    this.#last.delete(name)
    this.#last.set(name, sequence)
    if (this.#last.size > mostSources) this.#last.delete(this.#last.keys().next().value ?? '')
    return false
  }
}
