import type { Run } from './fixtures/id-generator.ts'

/** One worker id in the hands of one generator. Times are of a clock that all processes share. */
export interface Tenure {
  readonly id: string
  readonly group: string
  readonly maker: string
  readonly worker: number
  readonly tookAtMs: number
  readonly bursts: Burst[]
  /** When its window, or its lease, kept it from making ids. */
  readonly refusedAtMs: number[]
  ended: 'lost' | 'released' | undefined
}

interface Burst {
  readonly atMs: number
  readonly runs: readonly Run[]
}

/** All ids that were made by all processes, and by whom. */
export class MadeIds {
  readonly #tenures = new Map<string, Tenure>()

  /** Takes what a maker says; false when it is about something else. */
  note(maker: string, line: string): boolean {
    const match = /^(took|made|refused|lost|released) (\S+) (\S+) (\d+) (\d+)(.*)$/.exec(line)
    if (match === null) return false
    const [, verb, group = '', id = '', worker, at, rest = ''] = match
    const atMs = Number(at)
    if (verb === 'took') {
      const common = { id, group, maker, worker: Number(worker), tookAtMs: atMs }
      this.#tenures.set(id, { ...common, bursts: [], refusedAtMs: [], ended: undefined })
    }
    const tenure = this.#tenures.get(id)
    if (tenure === undefined)
      throw new Error(`${maker} did not say that it took what it made ids with: ${line}`)
    if (verb === 'made') tenure.bursts.push({ atMs, runs: parseRuns(rest) })
    if (verb === 'refused') tenure.refusedAtMs.push(atMs)
    if (verb === 'lost' || verb === 'released') tenure.ended = verb
    return true
  }

  tenures(group: string, maker?: string): readonly Tenure[] {
    return [...this.#tenures.values()].filter(
      (each) => each.group === group && (maker === undefined || each.maker === maker),
    )
  }

  /** Whether this maker made ids after that time. */
  isMaking(group: string, maker: string, sinceMs: number): boolean {
    return this.tenures(group, maker).some(({ bursts }) => (bursts.at(-1)?.atMs ?? 0) > sinceMs)
  }

  count(group: string): number {
    return sum(this.tenures(group).map(idsIn))
  }

  /** Ids that were made once more: the same worker, timestamp and sequence. */
  duplicates(group: string): number {
    const byTick = new Map<string, Run[]>()
    for (const { worker, bursts } of this.tenures(group)) {
      for (const run of bursts.flatMap(({ runs }) => runs)) {
        const key = `${worker} ${run.tick}`
        const others = byTick.get(key)
        if (others === undefined) byTick.set(key, [run])
        else others.push(run)
      }
    }
    return sum([...byTick.values()].map(repeatedIn))
  }

  /** How often a worker id's next generator used timestamps that are not all above those of the one before. */
  crossings(group: string): number {
    const spans = this.tenures(group)
      .filter(({ bursts }) => bursts.length > 0)
      .map((tenure) => ({ worker: tenure.worker, ...spanOf(tenure) }))
      .sort((a, b) => a.worker - b.worker || a.first - b.first)
    const crosses = ({ worker, first }: (typeof spans)[number], index: number): boolean => {
      const before = spans[index - 1]
      return before?.worker === worker && first <= before.last
    }
    return spans.filter(crosses).length
  }
}

export function idsIn({ bursts }: Pick<Tenure, 'bursts'>): number {
  return sum(bursts.flatMap(({ runs }) => runs.map(({ from, to }) => to - from + 1)))
}

/** The first and the last timestamp. */
export function spanOf({ bursts }: Pick<Tenure, 'bursts'>): { first: number; last: number } {
  let first = Infinity
  let last = -Infinity
  for (const { tick } of bursts.flatMap(({ runs }) => runs)) {
    first = Math.min(first, tick)
    last = Math.max(last, tick)
  }
  return { first, last }
}

function repeatedIn(runs: Run[]): number {
  let repeated = 0
  let seenTo = -1
  for (const { from, to } of runs.sort((a, b) => a.from - b.from)) {
    repeated += Math.max(0, Math.min(seenTo, to) - from + 1)
    seenTo = Math.max(seenTo, to)
  }
  return repeated
}

function parseRuns(text: string): Run[] {
  return [...text.matchAll(/ (\d+):(\d+)-(\d+)/g)].map(([, tick, from, to]) => ({
    tick: Number(tick),
    from: Number(from),
    to: Number(to),
  }))
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
