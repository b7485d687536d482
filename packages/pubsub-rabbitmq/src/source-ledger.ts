/** Sources that went are forgotten in time; each costs some hundred bytes. */
const mostSources = 10_000

export interface Judgement {
  /** Whether it is the next one of its publisher. */
  readonly isNext: boolean
  /** How many of this publisher were accepted before it and will never come. */
  readonly missed: number
}

interface Source {
  /** The last one that came. */
  last: number | undefined
  /** What its publisher had sent when it was first heard of. */
  readonly floor: number
}

/**
 * What came of each publisher, by its numbers. A server neither refuses a number out of turn nor says what it lost, so the reader does: one that comes
 * too early, after one that was not accepted, is left out, because its publisher sends both again; one that comes after others which
 * were accepted shows that these are lost.
 */
export class SourceLedger {
  #sources = new Map<string, Source>()

  /** @param firstUnaccepted the lowest number that its publisher did not know to be accepted when it sent this one */
  take(source: string, sequence: number, firstUnaccepted: number): Judgement {
    const known = this.#sources.get(source)
    const last = known?.last ?? Math.min(known?.floor ?? Infinity, sequence - 1)
    if (sequence <= last) return { isNext: false, missed: 0 }
    const missed = Math.max(0, Math.min(firstUnaccepted, sequence) - 1 - last)
    const isNext = sequence === last + missed + 1
    this.#set(source, { last: isNext ? sequence : last + missed, floor: known?.floor ?? 0 })
    return { isNext, missed }
  }

  /** Whether what its publisher knows to be accepted has not come yet. */
  isBehind(source: string, accepted: number): boolean {
    const known = this.#sources.get(source)
    return known !== undefined && (known.last ?? known.floor) < accepted
  }

  /** @param sent the last number that a publisher may have sent before reading began: those behind it are expected */
  begin(source: string, sent: number): void {
    if (!this.#sources.has(source)) this.#set(source, { last: undefined, floor: sent })
  }

  last(source: string): number | undefined {
    return this.#sources.get(source)?.last
  }

  /** Nothing is known any more: what comes next of each is its first. */
  forget(): void {
    this.#sources.clear()
  }

  #set(source: string, known: Source): void {
    this.#sources.set(source, known)
    if (this.#sources.size > mostSources) this.#sources.delete(this.#sources.keys().next().value ?? '')
  }
}
