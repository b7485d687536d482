import { describe, expect, it } from 'vitest'
import { createSnowflake } from '../src/index.ts'
import { HandMadeWorker } from './hand-made-worker.ts'
import { MovingClock } from './moving-clock.ts'

/** Out of ids, until the clock is moved. */
function usedUp() {
  const clock = new MovingClock()
  const ids = createSnowflake({ worker: 3, clock: clock.read, maxAheadMs: 0 })
  ids.generateMany(128)
  return { clock, ids }
}

describe('generateAsync', () => {
  it('waits until an id is free', async () => {
    const { clock, ids } = usedUp()
    const waiting = ids.generateAsync()
    clock.nowMs += 1
    expect(ids.decode(await waiting)).toMatchObject({ timestampMs: clock.nowMs, sequence: 0 })
  })

  it('does not wait when one is', async () => {
    const ids = createSnowflake({ worker: 3 })
    expect(await ids.generateAsync({ waitMs: 0 })).toBeLessThan(ids.generate())
  })

  it('waits for a renewal of the lease', async () => {
    const clock = new MovingClock()
    const worker = new HandMadeWorker()
    worker.ceilingMs = clock.nowMs - 1
    const ids = createSnowflake({ worker, clock: clock.read })
    const waiting = ids.generateAsync()
    worker.ceilingMs += 1
    expect(ids.decode(await waiting).timestampMs).toBe(clock.nowMs)
  })

  it('gives each of many who wait an id of its own', async () => {
    const ids = createSnowflake({ worker: 3, maxAheadMs: 0 })
    const made = await Promise.all(Array.from({ length: 1000 }, () => ids.generateAsync()))
    expect(new Set(made).size).toBe(1000)
  })

  it.for([0, 50])('gives up after %i ms with the last reason', async (waitMs) => {
    const { clock, ids } = usedUp()
    await expect(ids.generateAsync({ waitMs })).rejects.toMatchObject({
      code: 'EXHAUSTED',
      retryable: true,
      details: { nowMs: clock.nowMs },
    })
  })

  it('ends when it is aborted, before and during the wait', async () => {
    const { clock, ids } = usedUp()
    const reason = new Error('the request is over')
    const controller = new AbortController()
    const waiting = ids.generateAsync({ signal: controller.signal, waitMs: 60_000 })
    controller.abort(reason)
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED', retryable: false, cause: reason })
    clock.nowMs += 1
    await expect(ids.generateAsync({ signal: controller.signal })).rejects.toMatchObject({ code: 'ABORTED' })
    expect(ids.decode(ids.generate()).sequence, 'nothing was used up').toBe(0)
  })

  it('rejects at once with any other error', async () => {
    const clock = new MovingClock(0)
    const ids = createSnowflake({ worker: 3, clock: clock.read })
    await expect(ids.generateAsync()).rejects.toMatchObject({ code: 'CLOCK_SKEW' })
    expect(clock.reads).toBe(1)
  })

  it.for([
    [{ waitMs: -1 }, 'waitMs'],
    [{ waitMs: 1.5 }, 'waitMs'],
    [{ waitMs: 2 ** 31 }, 'waitMs'],
    [{ signal: 'now' }, 'signal'],
    [{ timeoutMs: 5 }, 'timeoutMs'],
  ])('refuses %j', async ([options, name]) => {
    const ids = createSnowflake({ worker: 3 })
    await expect(Reflect.apply(ids.generateAsync, undefined, [options])).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { name },
    })
  })
})
