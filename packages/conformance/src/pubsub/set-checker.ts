import type { Gap, SubscribeOptions } from '@multinode/core'
import type { HighNode } from './pubsub-world.ts'
import { until } from './until.ts'

/** Longer than any fault keeps signals from coming. */
const quietMs = 5_000

/** What one subscriber had. All of it but `gaps` is empty or 0 where the guarantee holds. */
export interface Finding {
  /** Acknowledged, and neither seen nor covered by a gap. */
  readonly silent: readonly string[]
  readonly duplicates: number
  /** Seen after a later one of the same publisher. */
  readonly inversions: number
  readonly gaps: number
}

/** One subscriber of a checker. */
interface Witness {
  readonly timeline: (readonly [publisher: number, index: number] | Gap)[]
}

/** The guarantee by sets: what was acknowledged, less what was seen, less what a gap covers, is nothing. */
export class SetChecker {
  /** Of each publisher: which ones were acknowledged. */
  readonly #acknowledged: Set<number>[] = []
  readonly #witnesses: Witness[] = []
  readonly #pending = new Set<Promise<void>>()

  /** @returns publishes the next signal of a new publisher on the node */
  publisher({ pubsub }: HighNode): () => void {
    const acknowledged = new Set<number>()
    const publisher = this.#acknowledged.push(acknowledged) - 1
    let index = -1
    return () => {
      const mark = [publisher, (index += 1)] as const
      const published = pubsub
        .publish('orders.changed', mark)
        // What is buffered is sent before the case ends.
        .then(() => void acknowledged.add(mark[1]))
        .finally(() => this.#pending.delete(published))
      this.#pending.add(published)
    }
  }

  /** A subscription on the node that sees all. */
  async watch(
    { pubsub }: HighNode,
    options: Partial<SubscribeOptions> = {},
    work: () => Promise<void> = async () => {},
  ): Promise<void> {
    const witness: Witness = { timeline: [] }
    const handler = async ({ payload }: { readonly payload: unknown }): Promise<void> => {
      await work()
      const [publisher, index]: readonly unknown[] = Array.isArray(payload) ? payload : []
      witness.timeline.push([Number(publisher), Number(index)])
    }
    const onGap = (gap: Gap): void => void witness.timeline.push(gap)
    await pubsub.subscribe('orders.*', handler, { onGap, self: 'include', maxQueue: 100_000, ...options })
    this.#witnesses.push(witness)
  }

  /** When all has been sent, and all of it has arrived or is covered by a gap; else when nothing has come for a while: what is missing then is lost. */
  async findings(publishers: readonly HighNode[]): Promise<Finding[]> {
    const isSent = (): boolean => publishers.every(({ pubsub }) => pubsub.stats().outbox === 0)
    await until('all is sent', () => this.#pending.size === 0 && isSent(), 20_000)
    const now = (): Finding[] => this.#witnesses.map((witness) => this.#finding(witness))
    const count = (): number => this.#witnesses.reduce((sum, { timeline }) => sum + timeline.length, 0)
    for (let before = -1; before !== count();) {
      before = count()
      const isOver = (): boolean => count() !== before || now().every(({ silent }) => silent.length === 0)
      await until('more comes', isOver, quietMs).catch(() => 'the findings say what is missing')
    }
    return now()
  }

  #finding({ timeline }: Witness): Finding {
    const seen = this.#acknowledged.map(() => new Set<number>())
    const covered = this.#acknowledged.map(() => new Set<number>())
    const last = this.#acknowledged.map(() => -1)
    const counts = { duplicates: 0, inversions: 0, gaps: 0 }
    /** Publishers of which something may be missing until they are seen again. */
    const open = new Set<number>()
    const cover = (publisher: number, end: number): void => {
      for (let index = (last[publisher] ?? -1) + 1; index < end; index += 1) covered[publisher]?.add(index)
    }
    for (const each of timeline) {
      if ('reason' in each) {
        counts.gaps += 1
        for (const publisher of this.#acknowledged.keys()) open.add(publisher)
        continue
      }
      const [publisher, index] = each
      const before = last[publisher] ?? -1
      if (seen[publisher]?.has(index) === true) counts.duplicates += 1
      else if (index < before) counts.inversions += 1
      if (open.delete(publisher)) cover(publisher, index)
      seen[publisher]?.add(index)
      last[publisher] = Math.max(before, index)
    }
    for (const publisher of open) cover(publisher, this.#count(publisher))
    const silent = this.#acknowledged.flatMap((indices, publisher) =>
      [...indices]
        .filter((index) => seen[publisher]?.has(index) !== true && covered[publisher]?.has(index) !== true)
        .map((index) => `${publisher}:${index}`),
    )
    return { silent, ...counts }
  }

  /** One more than the last that was acknowledged. */
  #count(publisher: number): number {
    return Math.max(-1, ...(this.#acknowledged[publisher] ?? [])) + 1
  }
}

/** What the guarantee demands of every subscriber. */
export const faultless: {
  readonly silent: readonly string[]
  readonly duplicates: number
  readonly inversions: number
} = {
  silent: [],
  duplicates: 0,
  inversions: 0,
}
