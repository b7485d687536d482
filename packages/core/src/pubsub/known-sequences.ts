import type { IncomingSignal } from './pubsub-driver.ts'

/** Sources that went are forgotten in time; each costs some hundred bytes. */
const mostSources = 10_000

/** What was received of each publisher in one lane, so that what comes twice is left out. */
export class KnownSequences {
  // Two generations, which is cheaper than to move each source to the end of one: who is heard of is in the first.
  #last = new Map<string, number>()
  #before = new Map<string, number>()

  /** Whether it came before; else it is known from now on. Transient signals have no number. */
  isRepeated({ source, sequence }: IncomingSignal): boolean {
    if (sequence === 0) return false
    const last = this.#last.get(source) ?? this.#before.get(source) ?? 0
    if (sequence <= last) return true
    this.#last.set(source, sequence)
    if (this.#last.size >= mostSources / 2) {
      this.#before = this.#last
      this.#last = new Map()
    }
    return false
  }
}
