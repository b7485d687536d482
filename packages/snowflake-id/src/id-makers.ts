import type { Format } from './layout.ts'
import type { Run, Ticks } from './ticks.ts'
import type { Window } from './worker-source.ts'

/** Puts ticks, worker and sequences together. */
export interface IdMaker<Id, Ids> {
  generate(this: void): Id
  generateMany(this: void, count: number): Ids
}

export function numberMaker(
  ticks: Ticks,
  format: Format,
  { workerId }: Window,
): IdMaker<number, Float64Array> {
  const { workers, sequences } = format
  const firstIn = (tick: number): number => (tick * workers + workerId) * sequences
  let first = 0
  return {
    generate() {
      const sequence = ticks.take()
      if (sequence === 0) first = firstIn(ticks.tick)
      return first + sequence
    },
    generateMany(count) {
      const runs = ticks.takeMany(count)
      const ids = new Float64Array(count)
      let filled = 0
      for (const run of runs) {
        first = firstIn(run.tick)
        fill(ids, filled, first + run.sequence, run.count)
        filled += run.count
      }
      return ids
    },
  }
}

function fill(ids: Float64Array, from: number, firstId: number, count: number): void {
  for (let each = 0; each < count; each += 1) ids[from + each] = firstId + each
}

export function bigintMaker(
  ticks: Ticks,
  format: Format,
  { workerId }: Window,
): IdMaker<bigint, BigUint64Array> {
  const perTick = BigInt(format.workers * format.sequences)
  const ofWorker = BigInt(workerId * format.sequences)
  const firstIn = (tick: number): bigint => BigInt(tick) * perTick + ofWorker
  let last = 0n
  return {
    generate() {
      // Shifting or converting would make two or three bigints for each id; this makes one.
      last = ticks.take() === 0 ? firstIn(ticks.tick) : last + 1n
      return last
    },
    generateMany(count) {
      const runs = ticks.takeMany(count)
      const ids = new BigUint64Array(count)
      let filled = 0
      for (const run of runs) {
        fillWords(ids, filled, firstIn(run.tick), run)
        filled += run.count
      }
      last = ids[count - 1] ?? last
      return ids
    },
  }
}

const [lowWord, highWord] = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1 ? [0, 1] : [1, 0]

/** In halves, because storing a bigint means to make it first. A sequence has less than 32 bits, so only the lower half counts up. */
function fillWords(ids: BigUint64Array, from: number, first: bigint, { sequence, count }: Run): void {
  const words = new Uint32Array(ids.buffer)
  const high = Number(first >> 32n)
  const low = Number(first & 0xffff_ffffn) + sequence
  for (let each = 0; each < count; each += 1) {
    const place = 2 * (from + each)
    words[place + lowWord] = low + each
    words[place + highWord] = high
  }
}

export function stringMaker(
  source: IdMaker<number, Float64Array> | IdMaker<bigint, BigUint64Array>,
  write: (id: number | bigint) => string,
): IdMaker<string, string[]> {
  return {
    generate: () => write(source.generate()),
    generateMany: (count) => Array.from<number | bigint, string>(source.generateMany(count), write),
  }
}
