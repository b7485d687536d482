import { Snowflake } from '@nocobase/snowflake-id'
import { figure } from '@multinode/testbed'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSnowflake, SnowflakeError } from '../src/index.ts'
import { errorOf, notGreater } from './errors.ts'
import { MovingClock } from './moving-clock.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

const layouts = ['js53', 'nocobase53', 'twitter64'] as const
const backwardMs = [1, 2, 10, 999, 1000, 1001, 60_000, 3_600_000]
const numRuns = figure({ slice: 200, full: 5000 })
const timeout = figure({ slice: 10_000, full: 120_000 })

describe('a clock that is set back', () => {
  it.for(layouts.flatMap((layout) => backwardMs.map((stepMs) => [layout, stepMs] as const)))(
    'neither stops ids nor repeats any: %s, by %i ms',
    ([layout, stepMs]) => {
      const clock = new MovingClock()
      const ids = createSnowflake({ worker: 3, layout, output: 'bigint', clock: clock.read })
      const made: bigint[] = []
      // 60 ids a ms is below what every layout has, and more than it has for two of its ms at once.
      const live = (forMs: number): void => {
        for (let ms = 0; ms < forMs; ms += 1) {
          for (let each = 0; each < 60; each += 1) made.push(ids.generate())
          clock.nowMs += 1
        }
      }
      live(100)
      clock.nowMs -= stepMs
      live(3000)
      expect(notGreater(made)).toBe(0)
      expect(clock.reads).toBe(made.length)
    },
  )

  it('the control: @nocobase/snowflake-id repeats ids', () => {
    const clock = new MovingClock()
    vi.spyOn(Date, 'now').mockImplementation(clock.read)
    const peer = new Snowflake({ workerId: 3 })
    const made: number[] = []
    for (let ms = 0; ms < 3000; ms += 10) {
      if (ms === 2000) clock.nowMs -= 2000
      made.push(peer.generate())
      clock.nowMs += 10
    }
    expect(new Set(made).size).toBeLessThan(made.length)
  })

  it('says how far ids are ahead of it', () => {
    const clock = new MovingClock()
    const ids = createSnowflake({ worker: 3, clock: clock.read })
    expect(ids.driftMs).toBe(0)
    ids.generate()
    expect(ids.driftMs).toBe(0)
    clock.nowMs -= 3_600_000
    ids.generate()
    expect(ids.driftMs).toBe(3_600_000)
    clock.nowMs += 3_600_001
    ids.generate()
    expect(ids.driftMs).toBe(0)
  })

  it('does not let ids run ahead further than without: maxAheadMs counts from where the clock was', () => {
    const clock = new MovingClock()
    const ids = createSnowflake({ worker: 3, clock: clock.read, maxAheadMs: 10 })
    const lastTick = (): number => ids.driftMs + clock.nowMs
    const useUp = (): void => {
      for (;;) {
        try {
          ids.generate()
        } catch {
          return
        }
      }
    }
    ids.generate()
    const startMs = clock.nowMs
    clock.nowMs -= 3_600_000
    useUp()
    expect(lastTick()).toBe(startMs + 10)
    clock.nowMs += 5
    useUp()
    expect(lastTick()).toBe(startMs + 15)
    clock.nowMs -= 60_000
    useUp()
    expect(lastTick()).toBe(startMs + 15)
    // Caught up: forgotten.
    clock.nowMs = startMs + 20
    useUp()
    expect(lastTick()).toBe(startMs + 30)
    clock.nowMs += 20
    ids.generate()
    expect(ids.driftMs).toBe(0)
    useUp()
    expect(lastTick()).toBe(clock.nowMs + 10)
  })
})

describe('a clock that jumps', { timeout }, () => {
  it('ahead is followed, and may come back', () => {
    const clock = new MovingClock()
    const ids = createSnowflake({ worker: 3, clock: clock.read })
    const made = [ids.generate()]
    clock.nowMs += 3_600_000
    made.push(ids.generate())
    expect(ids.decode(made[1] ?? NaN).timestampMs).toBe(clock.nowMs)
    clock.nowMs -= 3_600_000
    for (let each = 0; each < 1000; each += 1) made.push(ids.generate())
    expect(notGreater(made)).toBe(0)
  })

  it('in any way never makes ids that are not greater, and never looks twice', () => {
    const steps = fc.array(
      fc.record({
        stepMs: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: -5000, max: 5000 })),
        count: fc.integer({ min: 1, max: 300 }),
        atOnce: fc.boolean(),
      }),
    )
    fc.assert(
      fc.property(fc.constantFrom(...layouts), steps, (layout, moves) => {
        const clock = new MovingClock()
        const ids = createSnowflake({ worker: 3, layout, output: 'bigint', clock: clock.read })
        const made: bigint[] = []
        let calls = 0
        const call = (take: () => void): void => {
          calls += 1
          try {
            take()
          } catch (error) {
            if (!(error instanceof SnowflakeError && error.code === 'EXHAUSTED')) throw error
          }
        }
        for (const { stepMs, count, atOnce } of moves) {
          clock.nowMs += stepMs
          if (atOnce) call(() => made.push(...ids.generateMany(count)))
          else for (let each = 0; each < count; each += 1) call(() => made.push(ids.generate()))
        }
        expect(notGreater(made)).toBe(0)
        expect(clock.reads).toBe(calls)
      }),
      { numRuns },
    )
  })
})

describe('a clock outside of what the layout holds', () => {
  it('is CLOCK_SKEW before the epoch, with both times', () => {
    const epochMs = Date.UTC(2025, 0, 1)
    const clock = new MovingClock(epochMs - 1)
    const ids = createSnowflake({ worker: 3, clock: clock.read })
    const error = errorOf(ids.generate)
    expect(error).toMatchObject({
      code: 'CLOCK_SKEW',
      retryable: false,
      details: { nowMs: epochMs - 1, epochMs },
    })
    expect(error.message).toContain('2024-12-31T23:59:59.999Z')
    expect(error.message).toContain('2025-01-01T00:00:00.000Z')
    clock.nowMs = epochMs
    expect(ids.generate()).toBe(3 * 128)
    // As any other step back.
    clock.nowMs = epochMs - 60_000
    expect(ids.generate()).toBe(3 * 128 + 1)
  })

  it.for(layouts)('ends at expiresAt: %s', (layout) => {
    const clock = new MovingClock()
    const ids = createSnowflake({ worker: 3, layout, output: 'bigint', clock: clock.read })
    clock.nowMs = ids.expiresAt.getTime() - 1
    const last = ids.generate()
    clock.nowMs += 1
    const error = errorOf(ids.generate)
    expect(error).toMatchObject({
      code: 'TOO_LARGE',
      retryable: false,
      details: { expiresAt: ids.expiresAt },
    })
    expect(error.message).toContain(ids.expiresAt.toISOString())
    // Whoever corrects the clock has lost nothing.
    clock.nowMs -= 1
    expect(ids.generate()).toBe(last + 1n)
  })

  it('borrows no time that the layout does not have', () => {
    const clock = new MovingClock()
    const ids = createSnowflake({ worker: 3, clock: clock.read })
    clock.nowMs = ids.expiresAt.getTime() - 2
    expect(errorOf(() => ids.generateMany(128 * 2 + 1)).code).toBe('TOO_LARGE')
    expect(ids.decode(ids.generateMany(128 * 2).at(-1) ?? NaN)).toMatchObject({
      timestampMs: clock.nowMs + 1,
    })
    expect(errorOf(ids.generate).code).toBe('TOO_LARGE')
  })

  it.for([NaN, Infinity, -Infinity])('that says %d is refused, and nothing is used up', (nowMs) => {
    const clock = new MovingClock()
    const ids = createSnowflake({ worker: 3, clock: clock.read })
    const first = ids.generate()
    const startMs = clock.nowMs
    clock.nowMs = nowMs
    expect(errorOf(ids.generate)).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name: 'clock()' } })
    clock.nowMs = startMs
    expect(ids.generate()).toBe(first + 1)
  })

  it('may say fractions of a ms', () => {
    const clock = new MovingClock(Date.UTC(2026, 0, 1) + 0.75)
    const ids = createSnowflake({ worker: 3, clock: clock.read })
    expect(ids.decode(ids.generate()).timestampMs).toBe(Date.UTC(2026, 0, 1))
    clock.nowMs += 0.2
    expect(ids.decode(ids.generate())).toMatchObject({ timestampMs: Date.UTC(2026, 0, 1), sequence: 1 })
  })
})
