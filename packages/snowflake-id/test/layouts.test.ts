import { Snowflake } from '@nocobase/snowflake-id'
import { figure, seededRandom } from '@multinode/testbed'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createDecoder, createSnowflake, type Layout, type LayoutName } from '../src/index.ts'
import { errorOf } from './errors.ts'
import { MovingClock } from './moving-clock.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

const count = figure({ slice: 20_000, full: 1_000_000 })
const numRuns = figure({ slice: 300, full: 5000 })
const timeout = figure({ slice: 10_000, full: 120_000 })

const shapes: Readonly<Record<LayoutName, Layout & { epochMs: number }>> = {
  nocobase53: { unitMs: 1000, timeBits: 32, workerBits: 5, sequenceBits: 16, epochMs: 1_605_024_000_000 },
  js53: { unitMs: 1, timeBits: 41, workerBits: 5, sequenceBits: 7, epochMs: Date.UTC(2025, 0, 1) },
  twitter64: { unitMs: 1, timeBits: 41, workerBits: 10, sequenceBits: 12, epochMs: 1_288_834_974_657 },
}
const names = ['nocobase53', 'js53', 'twitter64'] as const

/** As its definition says, with shifts. */
function shifted(
  { workerBits, sequenceBits }: Layout,
  tick: number,
  worker: number,
  sequence: number,
): bigint {
  const time = BigInt(tick) << BigInt(workerBits + sequenceBits)
  return time | (BigInt(worker) << BigInt(sequenceBits)) | BigInt(sequence)
}

describe.for(names)('layout %s', { timeout }, (layout) => {
  const shape = shapes[layout]
  const decoder = createDecoder({ layout, output: 'bigint' })

  it('decodes what its definition composes', () => {
    const random = seededRandom()
    const wrong: unknown[] = []
    for (let each = 0; each < count; each += 1) {
      // Each number of it has 32 bits.
      const tick =
        (random.between(0, 2 ** 9 - 1) * 2 ** 32 + random.between(0, 2 ** 32 - 1)) % 2 ** shape.timeBits
      const workerId = random.between(0, 2 ** shape.workerBits - 1)
      const sequence = random.between(0, 2 ** shape.sequenceBits - 1)
      const decoded = decoder.decode(shifted(shape, tick, workerId, sequence))
      const timestampMs = shape.epochMs + tick * shape.unitMs
      const sameTime = decoded.timestampMs === timestampMs && decoded.date.getTime() === timestampMs
      // An expectation for each would take most of the time.
      if (!sameTime || decoded.workerId !== workerId || decoded.sequence !== sequence) wrong.push(decoded)
    }
    expect(wrong, `seed ${random.seed}`).toEqual([])
  })

  it('makes ids that say when and by whom they were made', () => {
    const moment = fc.integer({ min: shape.epochMs, max: decoder.expiresAt.getTime() - 1 })
    const worker = fc.integer({ min: 0, max: 2 ** shape.workerBits - 1 })
    fc.assert(
      fc.property(moment, worker, (nowMs, workerId) => {
        const ids = createSnowflake({ worker: workerId, layout, output: 'bigint', clock: () => nowMs })
        const tick = Math.floor((nowMs - shape.epochMs) / shape.unitMs)
        expect(ids.generate()).toBe(shifted(shape, tick, workerId, 0))
        expect(ids.generate()).toBe(shifted(shape, tick, workerId, 1))
      }),
      { numRuns },
    )
  })

  it('minFor and maxFor enclose exactly the ids of the tick', () => {
    const moment = fc.integer({ min: shape.epochMs, max: decoder.expiresAt.getTime() - 1 })
    fc.assert(
      fc.property(moment, (ms) => {
        const [first, last] = [decoder.minFor(ms), decoder.maxFor(new Date(ms))]
        const tick = Math.floor((ms - shape.epochMs) / shape.unitMs)
        expect(first).toBe(shifted(shape, tick, 0, 0))
        expect(last).toBe(shifted(shape, tick + 1, 0, 0) - 1n)
      }),
      { numRuns },
    )
    const [beforeMs, afterMs] = [shape.epochMs - 1, decoder.expiresAt.getTime()]
    expect(decoder.minFor(shape.epochMs)).toBe(0n)
    expect(errorOf(() => decoder.minFor(beforeMs))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(errorOf(() => decoder.maxFor(afterMs))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('a layout of your own', { timeout }, () => {
  const layouts = fc
    .record({
      unitMs: fc.integer({ min: 1, max: 1000 }),
      timeBits: fc.integer({ min: 1, max: 42 }),
      workerBits: fc.integer({ min: 0, max: 31 }),
      sequenceBits: fc.integer({ min: 0, max: 31 }),
    })
    .filter(({ timeBits, workerBits, sequenceBits }) => timeBits + workerBits + sequenceBits <= 63)

  it('is filled and read by its definition', () => {
    fc.assert(
      fc.property(
        layouts,
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 1, max: 300 }),
        (layout, time, who, many) => {
          const tick = time % 2 ** layout.timeBits
          const workerId = who % 2 ** layout.workerBits
          const ids = createSnowflake({
            worker: workerId,
            layout,
            epoch: 0,
            output: 'bigint',
            maxAheadMs: 86_400_000,
            clock: () => tick * layout.unitMs,
          })
          fc.pre(ids.expiresAt.getTime() - tick * layout.unitMs > many * layout.unitMs)
          const perTick = 2 ** layout.sequenceBits
          const expected = Array.from({ length: many + 1 }, (_, each) =>
            shifted(layout, tick + Math.floor(each / perTick), workerId, each % perTick),
          )
          expect([...ids.generateMany(many), ids.generate()]).toEqual(expected)
          const { timestampMs, workerId: decoded, sequence } = ids.decode(expected[many] ?? -1n)
          const madeAt = tick + Math.floor(many / perTick)
          expect([timestampMs, decoded, sequence]).toEqual([madeAt * layout.unitMs, workerId, many % perTick])
        },
      ),
      { numRuns },
    )
  })

  it('of at most 53 bits is the same as number and as bigint', () => {
    const small = layouts.filter((each) => each.timeBits + each.workerBits + each.sequenceBits <= 53)
    fc.assert(
      fc.property(small, fc.integer({ min: 1, max: 300 }), (layout, many) => {
        const options = { worker: 2 ** layout.workerBits - 1, layout, epoch: 0, clock: () => 0 }
        const far = { ...options, maxAheadMs: 86_400_000 }
        fc.pre(many <= 2 ** layout.timeBits * 2 ** layout.sequenceBits)
        fc.pre(many * layout.unitMs < 86_400_000)
        const numbers = createSnowflake(far).generateMany(many)
        const bigints = createSnowflake({ ...far, output: 'bigint' }).generateMany(many)
        expect(Array.from(numbers, BigInt)).toEqual(Array.from(bigints))
      }),
      { numRuns },
    )
  })

  it('begins with 2025 unless told otherwise', () => {
    const layout = { unitMs: 10, timeBits: 38, workerBits: 8, sequenceBits: 7 }
    expect(createDecoder({ layout }).decode(0).date).toEqual(new Date('2025-01-01T00:00:00Z'))
    expect(createDecoder({ layout, epoch: new Date(5) }).decode(0).timestampMs).toBe(5)
    expect(createDecoder({ layout, epoch: 5 }).expiresAt).toEqual(new Date(5 + 2 ** 38 * 10))
  })
})

describe('@nocobase/snowflake-id', () => {
  const many = 100_000

  it('reads the ids of nocobase53 as we do', () => {
    const random = seededRandom()
    const peer = new Snowflake()
    const clock = new MovingClock()
    const generators = Array.from({ length: 32 }, (_, worker) =>
      createSnowflake({ worker, layout: 'nocobase53', clock: clock.read }),
    )
    let agreed = 0
    for (let each = 0; each < many; each += 1) {
      clock.nowMs += random.between(0, 5_000)
      const ids = generators[random.between(0, 31)]
      const id = ids?.generate() ?? NaN
      const theirs = peer.parse(id)
      const ours = ids?.decode(id)
      const sameParts = theirs.workerId === ours?.workerId && theirs.sequence === ours.sequence
      if (sameParts && theirs.timestamp * 1000 === ours.timestampMs) agreed += 1
    }
    expect(agreed, `seed ${random.seed}`).toBe(many)
  })

  it('makes the same ids from the same clock', () => {
    const clock = new MovingClock()
    vi.spyOn(Date, 'now').mockImplementation(clock.read)
    const peer = new Snowflake({ workerId: 17 })
    const ids = createSnowflake({ worker: 17, layout: 'nocobase53' })
    for (let each = 0; each < 1000; each += 1) {
      expect(ids.generate()).toBe(peer.generate())
      clock.nowMs += 7
    }
  })
})
