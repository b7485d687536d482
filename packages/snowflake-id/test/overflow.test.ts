import { setImmediate as nextTurn } from 'node:timers/promises'
import { Snowflake } from '@nocobase/snowflake-id'
import { figure } from '@multinode/testbed'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSnowflake } from '../src/index.ts'
import { errorOf } from './errors.ts'
import { HandMadeWorker } from './hand-made-worker.ts'
import { MovingClock } from './moving-clock.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

describe('when a tick has no more ids', () => {
  it('the next tick is used, with one look at the clock for each id', () => {
    const clock = new MovingClock()
    const ids = createSnowflake({ worker: 3, clock: clock.read })
    for (let made = 0; made < 128 * 2; made += 1) ids.generate()
    expect(clock.reads).toBe(256)
    expect(ids.decode(ids.generate())).toMatchObject({
      timestampMs: clock.nowMs + 2,
      workerId: 3,
      sequence: 0,
    })
    expect(ids.driftMs).toBe(2)
    clock.nowMs += 1
    expect(ids.decode(ids.generate())).toMatchObject({ timestampMs: clock.nowMs + 1, sequence: 1 })
    expect(ids.driftMs).toBe(1)
  })

  it('the control: @nocobase/snowflake-id looks at the clock until the next second', () => {
    let reads = 0
    // Stands still for a second's ids, and then lets time pass with each look.
    vi.spyOn(Date, 'now').mockImplementation(() => {
      reads += 1
      return Date.UTC(2026, 0, 1) + Math.max(0, reads - 65_536)
    })
    const peer = new Snowflake({ workerId: 3 })
    for (let made = 0; made < 65_536; made += 1) peer.generate()
    expect(reads).toBe(65_536)
    peer.generate()
    expect(reads - 65_536).toBe(1000)
  })

  it('ids end maxAheadMs ahead of the clock, and go on with it', () => {
    const clock = new MovingClock()
    const ids = createSnowflake({ worker: 3, clock: clock.read, maxAheadMs: 4 })
    expect(new Set(ids.generateMany(128 * 5)).size).toBe(128 * 5)
    const error = errorOf(ids.generate)
    expect(error).toMatchObject({
      code: 'EXHAUSTED',
      retryable: true,
      details: { retryAfterMs: 1, workerId: 3 },
    })
    expect(error.message).toContain('maxAheadMs')
    expect(clock.reads).toBe(2)
    clock.nowMs += 1
    expect(ids.decode(ids.generate())).toMatchObject({ timestampMs: clock.nowMs + 4, sequence: 0 })
  })

  it('retryAfterMs is when an id is free again', () => {
    const clock = new MovingClock()
    const ids = createSnowflake({ worker: 3, layout: 'nocobase53', clock: clock.read, maxAheadMs: 0 })
    clock.nowMs += 300
    ids.generateMany(65_536)
    expect(errorOf(ids.generate).details).toMatchObject({ retryAfterMs: 700 })
    clock.nowMs += 699
    expect(errorOf(ids.generate).details).toMatchObject({ retryAfterMs: 1 })
    clock.nowMs += 1
    expect(ids.decode(ids.generate()).timestampMs).toBe(clock.nowMs)
  })

  it('a call that throws uses nothing up', () => {
    const clock = new MovingClock()
    const ids = createSnowflake({ worker: 3, clock: clock.read, maxAheadMs: 4 })
    const last = ids.generateMany(128 * 3).at(-1)
    for (let failed = 0; failed < 10; failed += 1) errorOf(() => ids.generateMany(128 * 2 + 1))
    expect(ids.driftMs).toBe(2)
    const rest = ids.generateMany(128 * 2)
    expect(ids.decode(rest[0] ?? NaN)).toMatchObject({ timestampMs: clock.nowMs + 3, sequence: 0 })
    expect(rest[0]).toBeGreaterThan(last ?? NaN)
    errorOf(ids.generate)
  })

  it('more at once than are ever free is TOO_LARGE, and says how many are', () => {
    const clock = new MovingClock()
    const ids = createSnowflake({ worker: 3, clock: clock.read, maxAheadMs: 4 })
    const error = errorOf(() => ids.generateMany(128 * 5 + 1))
    expect(error).toMatchObject({ code: 'TOO_LARGE', retryable: false, details: { most: 128 * 5 } })
    expect(ids.generateMany(128 * 5)).toHaveLength(128 * 5)
  })

  it('a lease lets them go to its ceiling, and further once it is renewed', () => {
    const clock = new MovingClock()
    const worker = new HandMadeWorker()
    worker.ceilingMs = clock.nowMs + 9
    const ids = createSnowflake({ worker, clock: clock.read })
    ids.generateMany(128 * 10)
    const error = errorOf(ids.generate)
    expect(error).toMatchObject({
      code: 'EXHAUSTED',
      details: { retryAfterMs: 1, ceilingMs: worker.ceilingMs },
    })
    expect(error.message).not.toContain('was not renewed')
    worker.ceilingMs += 1
    expect(ids.decode(ids.generate()).timestampMs).toBe(worker.ceilingMs)
  })
})

describe('twice as many ids as there are', { timeout: 60_000 }, () => {
  const seconds = figure({ slice: 1, full: 10 })
  const inOneTurn = 200

  /** Takes turns with the event loop. The last ids come after a whole second's, whenever it began. Returns what each turn took. */
  async function demand(generate: () => unknown): Promise<{ elapsedMs: number; busyMs: number }[]> {
    const turns: { elapsedMs: number; busyMs: number }[] = []
    for (let left = seconds * 2 * 65_536 + inOneTurn; left > 0; left -= inOneTurn) {
      const startedAtMs = performance.now()
      const before = process.threadCpuUsage()
      for (let each = 0; each < inOneTurn; each += 1) generate()
      const { user, system } = process.threadCpuUsage(before)
      turns.push({ elapsedMs: performance.now() - startedAtMs, busyMs: (user + system) / 1000 })
      await nextTurn()
    }
    return turns
  }

  it('keep no turn of the event loop, where @nocobase/snowflake-id keeps it for most of a second', async ({
    annotate,
  }) => {
    const ids = createSnowflake({ worker: 3, layout: 'nocobase53' })
    let refused = 0
    const ours = await demand(() => {
      try {
        ids.generate()
      } catch {
        refused += 1
      }
    })
    const peer = new Snowflake({ workerId: 3 })
    const theirs = await demand(() => peer.generate())
    const elapsed = ours.map(({ elapsedMs }) => elapsedMs).toSorted((a, b) => a - b)
    const busiest = Math.max(...ours.map(({ busyMs }) => busyMs))
    const theirLongest = Math.max(...theirs.map(({ elapsedMs }) => elapsedMs))
    await annotate(
      `p99 ${elapsed[Math.floor(elapsed.length * 0.99)]} ms, busy for ${busiest} ms at most, refused ${refused}; peer's longest ${theirLongest} ms`,
    )
    expect(theirLongest, 'the control').toBeGreaterThan(100)
    // What other processes take from this one does not count.
    expect(busiest).toBeLessThan(100)
  })
})
