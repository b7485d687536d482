import { type Figure, figureOf } from './statistics.ts'

/** One round of a measurement: does the work, and returns the figure in the unit of its case. */
export type Round = () => number | Promise<number>

export interface BenchCase {
  readonly name: string
  readonly unit: string
  readonly better: 'lower' | 'higher'
  /** Where a round takes long. Default: those of the run. */
  readonly rounds?: Rounds
  readonly ours: Round
  /** The client or driver underneath, doing the same commands. */
  readonly raw?: Round
  /** Others that do the same job, by name. */
  readonly peers?: Readonly<Record<string, Round>>
}

/** What a file `<name>.bench.ts` exports as its default. */
export interface Bench {
  /** One line for the list of benches. */
  readonly about: string
  /** Makes the cases ready. What they need is put on `resources`, which is disposed of after the last round. */
  prepare(resources: AsyncDisposableStack): readonly BenchCase[] | Promise<readonly BenchCase[]>
}

/** As written by `--json`. */
export interface CaseResult {
  readonly case: string
  readonly unit: string
  readonly better: 'lower' | 'higher'
  readonly ours: Figure
  readonly raw?: Figure
  readonly peers: Readonly<Record<string, Figure>>
}

export interface Rounds {
  /** Not counted: the compiler settles, connections open. */
  readonly warmUp: number
  readonly counted: number
}

export const defaultRounds: Rounds = { warmUp: 2, counted: 9 }

export async function runBench(bench: Bench, rounds: Rounds = defaultRounds): Promise<CaseResult[]> {
  await using resources = new AsyncDisposableStack()
  const results: CaseResult[] = []
  for (const each of await bench.prepare(resources)) results.push(await runCase(each, each.rounds ?? rounds))
  return results
}

/**
 * Ours, raw and each peer take turns, round by round, so that what happens to the machine meanwhile happens to all;
 * and every other time in the opposite order, so that nobody always runs after the same one.
 */
export async function runCase(each: BenchCase, rounds: Rounds = defaultRounds): Promise<CaseResult> {
  const ours = sideOf(each.ours)
  const raw = each.raw === undefined ? undefined : sideOf(each.raw)
  const peers = Object.entries(each.peers ?? {}).map(([name, round]) => ({ name, ...sideOf(round) }))
  const sides = [ours, ...(raw === undefined ? [] : [raw]), ...peers]
  for (let round = 0; round < rounds.warmUp + rounds.counted; round += 1) {
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
      const sample = await side.round()
      if (round >= rounds.warmUp) side.samples.push(sample)
    }
  }
  return {
    case: each.name,
    unit: each.unit,
    better: each.better,
    ours: figureOf(ours.samples),
    ...(raw === undefined ? {} : { raw: figureOf(raw.samples) }),
    peers: Object.fromEntries(peers.map(({ name, samples }) => [name, figureOf(samples)])),
  }
}

function sideOf(round: Round): { round: Round; samples: number[] } {
  return { round, samples: [] }
}
