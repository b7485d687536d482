import { describe, expect, it } from 'vitest'
import { createSnowflake } from '../src/index.ts'
import { errorOf } from './errors.ts'
import { HandMadeWorker } from './hand-made-worker.ts'
import { MovingClock } from './moving-clock.ts'

describe('a generator with a lease', () => {
  it('claims its window once, when it is made', () => {
    const worker = new HandMadeWorker()
    const ids = createSnowflake({ worker })
    expect(worker.claims).toBe(1)
    for (let made = 0; made < 1000; made += 1) ids.generate()
    ids.generateMany(1000)
    expect(worker.claims).toBe(1)
    expect(ids.decode(ids.generate()).workerId).toBe(3)
  })

  it('claims nothing when its options are wrong', () => {
    const worker = new HandMadeWorker(40)
    errorOf(() => createSnowflake({ worker }))
    errorOf(() => createSnowflake({ worker, layout: 'twitter64' }))
    errorOf(() => createSnowflake({ worker, layout: 'twitter64', output: 'bigint', maxAheadMs: 5 }))
    expect(worker.claims).toBe(0)
  })

  it('begins at the floor, and follows it when it rises', () => {
    const clock = new MovingClock()
    const worker = new HandMadeWorker()
    worker.floorMs = clock.nowMs + 50
    const ids = createSnowflake({ worker, clock: clock.read })
    expect(ids.decode(ids.generate())).toMatchObject({ timestampMs: worker.floorMs, sequence: 0 })
    expect(ids.driftMs).toBe(50)
    worker.floorMs = clock.nowMs + 5000
    ids.generateMany(127)
    expect(ids.decode(ids.generate())).toMatchObject({ timestampMs: worker.floorMs, sequence: 0 })
    worker.floorMs += 5000
    expect(ids.decode(ids.generateMany(128).at(-1) ?? NaN)).toMatchObject({
      timestampMs: worker.floorMs,
      sequence: 0,
    })
  })

  it('counts a tick to the window that contains its start', () => {
    const clock = new MovingClock()
    const second = clock.nowMs
    const worker = new HandMadeWorker()
    worker.floorMs = second + 1
    worker.ceilingMs = second + 1999
    const ids = createSnowflake({ worker, layout: 'nocobase53', clock: clock.read })
    expect(ids.decode(ids.generate()).timestampMs).toBe(second + 1000)
    ids.generateMany(65_535)
    expect(errorOf(ids.generate).code).toBe('EXHAUSTED')
    worker.ceilingMs = second + 2000
    expect(ids.decode(ids.generate()).timestampMs).toBe(second + 2000)
  })

  it('says so when the clock has passed a ceiling that was not renewed, and goes on when it is', () => {
    const clock = new MovingClock()
    const worker = new HandMadeWorker()
    worker.ceilingMs = clock.nowMs
    const ids = createSnowflake({ worker, clock: clock.read })
    const first = ids.generate()
    clock.nowMs += 5000
    for (let again = 0; again < 2; again += 1) {
      const error = errorOf(ids.generate)
      expect(error).toMatchObject({
        code: 'EXHAUSTED',
        retryable: true,
        details: { nowMs: clock.nowMs, ceilingMs: worker.ceilingMs, retryAfterMs: 100 },
      })
      expect(error.message).toContain('was not renewed')
    }
    worker.ceilingMs += 15_000
    expect(ids.decode(ids.generate()).timestampMs).toBe(clock.nowMs)
    expect(ids.generate()).toBeGreaterThan(first)
  })

  it('tells the start of each tick before an id of it is out, and asks at new ticks only', () => {
    const clock = new MovingClock()
    const worker = new HandMadeWorker()
    const ids = createSnowflake({ worker, clock: clock.read })
    for (let made = 0; made < 128; made += 1) ids.generate()
    expect(worker.used).toEqual([clock.nowMs])
    expect(worker.asked).toBe(1)
    ids.generate()
    expect(worker.used).toEqual([clock.nowMs, clock.nowMs + 1])
    ids.generateMany(127 + 128 + 1)
    expect(worker.used).toEqual([0, 1, 2, 3].map((tick) => clock.nowMs + tick))
    expect(worker.asked).toBe(3)
    ids.generateMany(10)
    expect(worker.asked).toBe(3)
  })

  it('gives no id out whose tick could not be told', () => {
    const worker = new HandMadeWorker()
    const refusal = new Error('not now')
    let refuses = true
    const ids = createSnowflake({
      worker: {
        id: 3,
        claim: () => ({
          ...worker.claim(),
          used: () => {
            if (refuses) throw refusal
          },
        }),
      },
      clock: new MovingClock().read,
    })
    expect(ids.generate).toThrow(refusal)
    expect(() => ids.generateMany(1000)).toThrow(refusal)
    refuses = false
    expect(ids.decode(ids.generate()).sequence).toBe(0)
  })

  it('lets the error of a lease that is over through as it is', async () => {
    const clock = new MovingClock()
    const worker = new HandMadeWorker()
    const ids = createSnowflake({ worker, clock: clock.read })
    const first = ids.generate()
    worker.over = Object.assign(new Error('another node has the id'), { code: 'LOST' })
    // The rest of a tick is ours for ever.
    expect(ids.generate()).toBe(first + 1)
    clock.nowMs += 1
    expect(ids.generate).toThrow(worker.over)
    expect(() => ids.generateMany(2)).toThrow(worker.over)
    await expect(ids.generateAsync()).rejects.toBe(worker.over)
    worker.over = undefined
    expect(ids.decode(ids.generate())).toMatchObject({ timestampMs: clock.nowMs, sequence: 0 })
  })

  it.for(['floor', 'ceiling'] as const)('refuses a %s that is no number', (bound) => {
    const worker = new HandMadeWorker()
    if (bound === 'floor') worker.floorMs = NaN
    else worker.ceilingMs = NaN
    const ids = createSnowflake({ worker })
    expect(errorOf(ids.generate)).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { name: `${bound}() of the worker` },
    })
  })

  it('says with which range to acquire an id that the layout has room for', () => {
    const error = errorOf(() => createSnowflake({ worker: new HandMadeWorker(32) }))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name: 'worker', value: 32 } })
    expect(error.message).toContain('{ range: 32 }')
    const wider = { layout: 'twitter64', output: 'bigint' } as const
    createSnowflake({ ...wider, worker: new HandMadeWorker(1023) })
    expect(errorOf(() => createSnowflake({ ...wider, worker: new HandMadeWorker(1024) })).message).toContain(
      '{ range: 1024 }',
    )
  })
})

describe('two holders of one worker id, one after the other', () => {
  const second = new MovingClock().nowMs

  /** Each gets as many as it can. The second one starts above what the first one was allowed, or not. */
  function idsOfBoth(nextFloorMs: number): number[] {
    const first = new HandMadeWorker()
    first.ceilingMs = second + 9
    const next = new HandMadeWorker()
    next.floorMs = nextFloorMs
    next.ceilingMs = second + 19
    const holders = [first, next].map((worker) => {
      const clock = new MovingClock(second)
      return createSnowflake({ worker, clock: clock.read })
    })
    return holders.flatMap((ids) => Array.from({ length: 1280 }, ids.generate))
  }

  it('make no id twice, although both are asked at the same time', () => {
    expect(new Set(idsOfBoth(second + 10)).size).toBe(2560)
  })

  it('the control: without a floor they do', () => {
    expect(new Set(idsOfBoth(0)).size).toBe(1280)
  })
})
