/**
 * Ids: ours, a loop written by hand without any check (raw), and other libraries. `number`, `bigint` and `string` are made in bursts at the
 * start of each millisecond, so few that nobody has to wait; `generateMany` and `duplicates flat out` as fast as possible.
 *
 * Aims, not judged here: number <= 1.15 x raw, bigint <= 1.3 x raw, generateMany <= 2 ns an id, faster than all others; no duplicates.
 */
import { createSnowflake } from '@multinode/snowflake-id'
import type { Bench, BenchCase, Round } from './harness.ts'
import { bareBigints, bareNumbers, flake, nocobase, sapphire, wasm, workerId } from './ids-makers.ts'
import { medianOf } from './statistics.ts'

const bench: Bench = {
  about: 'ids: what one costs, alone and in many; how many are there twice when they are made flat out',
  prepare: () => [numbers(), bigints(), strings(), manyNumbers(), manyBigints(), duplicates()],
}

export default bench

const twitter64 = { worker: workerId, layout: 'twitter64', output: 'bigint' } as const
const nanoseconds = { unit: 'ns an id', better: 'lower' } as const
/** Many short ones: a machine that is slow for a second is so for all sides. And what happens once a millisecond is compiled late. */
const rounds = { warmUp: 50, counted: 99 }

function numbers(): BenchCase {
  return {
    name: 'number',
    ...nanoseconds,
    rounds,
    ours: perId(createSnowflake({ worker: workerId }).generate),
    raw: perId(bareNumbers()),
    peers: { '@nocobase/snowflake-id': perId(nocobase()) },
  }
}

function bigints(): BenchCase {
  return {
    name: 'bigint',
    ...nanoseconds,
    rounds,
    ours: perId(createSnowflake(twitter64).generate),
    raw: perId(bareBigints()),
    peers: {
      '@sapphire/snowflake': perId(sapphire()),
      'nodejs-snowflake': perId(wasm()),
      'flake-idgen': perId(flake()),
    },
  }
}

function strings(): BenchCase {
  const text = (generate: () => number | bigint): Round => perId(() => generate().toString())
  return {
    name: 'string',
    ...nanoseconds,
    rounds,
    ours: perId(createSnowflake({ ...twitter64, output: 'string' }).generate),
    raw: text(bareBigints()),
    peers: {
      '@nocobase/snowflake-id': text(nocobase()),
      '@sapphire/snowflake': text(sapphire()),
      'nodejs-snowflake': text(wasm()),
      'flake-idgen': text(flake()),
    },
  }
}

const bursts = 50
/** Fewer than the 128 of js53, and in all fewer than @nocobase/snowflake-id has for a second. */
const inOneBurst = 100
/** Keeps the compiler from leaving out what nobody looks at. */
const kept: { id: unknown } = { id: undefined }

/** The median burst: one in which something else had the processor does not count. */
function perId(generate: () => unknown): Round {
  return () => {
    const samples: number[] = []
    for (let burst = 0; burst < bursts; burst += 1) {
      nextMillisecond()
      const startedAtMs = performance.now()
      for (let each = 0; each < inOneBurst; each += 1) kept.id = generate()
      samples.push(performance.now() - startedAtMs)
    }
    return (medianOf(samples) * 1e6) / inOneBurst
  }
}

function nextMillisecond(): void {
  const nowMs = Date.now()
  while (Date.now() === nowMs);
}

const atOnce = 1000
const groups = 10
const calls = 20
/** So much is taken at once that the ids run ahead of the clock. */
const maxAheadMs = 86_400_000

function manyNumbers(): BenchCase {
  const ids = createSnowflake({ worker: workerId, maxAheadMs })
  return {
    name: 'generateMany(1000)',
    ...nanoseconds,
    rounds,
    ours: perMany(() => ids.generateMany(atOnce)),
    raw: perMany(bareMany),
    peers: { 'an empty array': perMany(() => new Float64Array(atOnce)) },
  }
}

function manyBigints(): BenchCase {
  const ids = createSnowflake({ ...twitter64, maxAheadMs })
  return {
    name: 'generateMany(1000), bigint',
    ...nanoseconds,
    rounds,
    ours: perMany(() => ids.generateMany(atOnce)),
    peers: { 'an empty array': perMany(() => new BigUint64Array(atOnce)) },
  }
}

/** Consecutive numbers, whatever a tick holds. */
function bareMany(): Float64Array {
  const ids = new Float64Array(atOnce)
  const first = Date.now() * 4096
  for (let each = 0; each < atOnce; each += 1) ids[each] = first + each
  return ids
}

function perMany(generateMany: () => unknown): Round {
  return () => {
    const samples: number[] = []
    for (let group = 0; group < groups; group += 1) {
      const startedAtMs = performance.now()
      for (let call = 0; call < calls; call += 1) kept.id = generateMany()
      samples.push(performance.now() - startedAtMs)
    }
    return (medianOf(samples) * 1e6) / (calls * atOnce)
  }
}

const flatOut = 200_000

function duplicates(): BenchCase {
  return {
    name: 'duplicates flat out',
    unit: `of ${flatOut} ids`,
    better: 'lower',
    rounds: { warmUp: 0, counted: 3 },
    ours: duplicatesOf(createSnowflake({ worker: workerId }).generate),
    raw: duplicatesOf(bareNumbers()),
    peers: {
      '@nocobase/snowflake-id': duplicatesOf(nocobase()),
      '@sapphire/snowflake': duplicatesOf(sapphire()),
      'nodejs-snowflake': duplicatesOf(wasm()),
      'flake-idgen': duplicatesOf(flake()),
    },
  }
}

/** Who refuses an id is asked again until there are all. */
function duplicatesOf(generate: () => number | bigint): Round {
  return () => {
    const ids = new BigUint64Array(flatOut)
    for (let made = 0; made < flatOut;) {
      try {
        ids[made] = BigInt(generate())
        made += 1
      } catch {
        continue
      }
    }
    ids.sort()
    return ids.reduce((count, id, index) => (index > 0 && id === ids[index - 1] ? count + 1 : count), 0)
  }
}
