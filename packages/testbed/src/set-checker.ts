import { waitUntil } from './wait-until.ts'

/** What was published: by whom, and as which one of that publisher. */
export type Mark = readonly [publisher: number, index: number]

/** `sent`: acknowledged. `buffered`: it may arrive. `failed`: the caller was told. */
type Fate = 'pending' | 'sent' | 'buffered' | 'failed'

/** What one subscriber had. All of it but `seen` and `gaps` is 0 where the guarantee holds. */
export interface Finding {
  readonly seen: number
  /** Acknowledged, and neither seen nor covered by a gap. */
  readonly silent: number
  readonly duplicates: number
  /** Seen after a later one of the same publisher. */
  readonly inversions: number
  /** Seen although nobody published it. */
  readonly unexpected: number
  readonly gaps: number
}

/** What the guarantee forbids. */
export const faultless = { silent: 0, duplicates: 0, inversions: 0, unexpected: 0 }

/** Judges by sets: what was acknowledged, less what was seen, less what a gap covers, is what was lost in silence. */
export class SetChecker {
  readonly #fates: Fate[][] = []
  readonly #witnesses: Witness[] = []

  /** @returns publishes the next mark of a new publisher; resolves when its fate is known */
  publisher(send: (mark: Mark) => Promise<{ readonly status: 'sent' | 'buffered' }>): () => Promise<void> {
    const fates: Fate[] = []
    const publisher = this.#fates.push(fates) - 1
    return async () => {
      const index = fates.push('pending') - 1
      try {
        fates[index] = (await send([publisher, index])).status
      } catch {
        fates[index] = 'failed'
      }
    }
  }

  subscriber(): Witness {
    const witness = new Witness(() => this.#fates.map(({ length }) => length))
    this.#witnesses.push(witness)
    return witness
  }

  count(fate: Fate): number {
    return this.#fates.flat().filter((each) => each === fate).length
  }

  get published(): number {
    return this.#fates.flat().length
  }

  /** To be called when all that was buffered has been sent: then that must have arrived, too. */
  allIsSent(): void {
    for (const fates of this.#fates) {
      for (const [index, fate] of fates.entries()) if (fate === 'buffered') fates[index] = 'sent'
    }
  }

  findings(): Finding[] {
    return this.#witnesses.map((witness) => witness.finding(this.#fates))
  }

  /** Resolves when the fate of each is known, and each acknowledged one was seen or covered by a gap; else what is missing after the deadline is lost. */
  async arrived(deadlineMs = 15_000): Promise<Finding[]> {
    const isComplete = (): boolean =>
      this.count('pending') === 0 && this.findings().every(({ silent }) => silent === 0)
    await waitUntil('all to arrive', isComplete, { deadlineMs }).catch(() => {})
    return this.findings()
  }
}

/** A gap covers what was published before the app was told of it, and nothing later. */
interface ToldGap {
  readonly published: readonly number[]
}

/** What one subscriber saw, in order. */
export class Witness {
  readonly #timeline: (Mark | ToldGap)[] = []
  readonly #published: () => readonly number[]

  constructor(published: () => readonly number[]) {
    this.#published = published
  }

  saw(payload: unknown): void {
    const [publisher, index]: readonly unknown[] = Array.isArray(payload) ? payload : []
    this.#timeline.push([Number(publisher), Number(index)])
  }

  gap(): void {
    this.#timeline.push({ published: this.#published() })
  }

  get seen(): number {
    return this.#timeline.length - this.gaps
  }

  get gaps(): number {
    return this.#timeline.filter((each) => 'published' in each).length
  }

  finding(fates: readonly (readonly Fate[])[]): Finding {
    const sources = fates.map((ofOne) => new SourceRecord(ofOne))
    let unexpected = 0
    for (const each of this.#timeline) {
      if ('published' in each) {
        for (const [publisher, record] of sources.entries()) record.gap(each.published[publisher] ?? 0)
      } else if (sources[each[0]]?.saw(each[1]) !== true) {
        unexpected += 1
      }
    }
    const sum = (count: (record: SourceRecord) => number): number =>
      sources.reduce((total, record) => total + count(record), 0)
    return {
      seen: this.seen,
      gaps: this.gaps,
      silent: sum((record) => record.silent()),
      duplicates: sum(({ duplicates }) => duplicates),
      inversions: sum(({ inversions }) => inversions),
      unexpected,
    }
  }
}

/** What one subscriber saw of one publisher. */
class SourceRecord {
  duplicates = 0
  inversions = 0
  readonly #fates: readonly Fate[]
  readonly #seen = new Set<number>()
  readonly #covered = new Set<number>()
  #last = -1

  constructor(fates: readonly Fate[]) {
    this.#fates = fates
  }

  /** @returns whether it was published */
  saw(index: number): boolean {
    if (this.#fates[index] === undefined) return false
    if (this.#seen.has(index)) this.duplicates += 1
    else if (index < this.#last) this.inversions += 1
    this.#seen.add(index)
    this.#last = Math.max(this.#last, index)
    return true
  }

  gap(published: number): void {
    for (let index = this.#last + 1; index < published; index += 1) this.#covered.add(index)
  }

  silent(): number {
    return this.#fates.filter(
      (fate, index) => fate === 'sent' && !this.#seen.has(index) && !this.#covered.has(index),
    ).length
  }
}
