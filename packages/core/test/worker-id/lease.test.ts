import { describe, expect, test } from 'vitest'
import { failureOf, watch } from '../support/outcome.ts'
import { away, WorkerIdsOn } from './worker-ids-on.ts'

const lost = expect.objectContaining({ code: 'LOST', details: { id: 0 } })
const released = expect.objectContaining({ code: 'NOT_OWNED', details: { id: 0 } })
const options = { prefer: 0 }

describe('the window of a lease', () => {
  test('is claimed by one generator: the second claim is refused', async () => {
    const on = new WorkerIdsOn()
    const lease = await on.workerIds.acquire(options)
    const window = lease.claim()
    expect([window.floor(), window.ceiling()]).toEqual([1, on.clock.wallMs() + 15_000])
    expect(() => lease.claim()).toThrow(
      expect.objectContaining({ code: 'ALREADY_EXISTS', details: { id: 0 } }),
    )
  })

  test('tells the backend at the release the highest timestamp that was used', async () => {
    const on = new WorkerIdsOn()
    const lease = await on.workerIds.acquire(options)
    const window = lease.claim()
    for (const usedMs of [100, 300, 200]) window.used(usedMs)
    await lease.release()
    expect(on.requests('release')).toEqual([{ id: 0, token: lease.grant.token, usedMs: 300 }])
    const next = await on.workerIds.acquire(options)
    expect(next.claim().floor()).toBe(301)
  })

  test('of which nothing was used takes nothing from the next holder', async () => {
    const on = new WorkerIdsOn()
    const first = await on.workerIds.acquire(options)
    const floorMs = first.claim().floor()
    await first.release()
    const next = await on.workerIds.acquire(options)
    expect(next.claim().floor()).toBe(floorMs)
  })

  test('throws NOT_OWNED after the release', async () => {
    const on = new WorkerIdsOn()
    const lease = await on.workerIds.acquire(options)
    const window = lease.claim()
    await lease.release()
    expect(() => window.ceiling()).toThrow(released)
  })
})

describe('a lease without renewal', () => {
  test('ends after its time, less 1 % and 2 ms, and says so once', async () => {
    const on = new WorkerIdsOn({ renew: away })
    const lease = await on.workerIds.acquire(options)
    expect(lease.remainingMs()).toBe(14_848)
    await on.clock.advance(14_847)
    expect(lease).toMatchObject({ held: true, signal: { aborted: false } })
    await on.clock.advance(1)
    expect(lease).toMatchObject({ held: false, signal: { aborted: true, reason: lost } })
    expect(lease.remainingMs()).toBe(0)
    expect(() => lease.assertHeld()).toThrow(lost)
    await on.clock.advance(60_000)
    expect(on.reported).toEqual([lost])
  })

  test('keeps its window, which stands still', async () => {
    const on = new WorkerIdsOn({ renew: away })
    const lease = await on.workerIds.acquire(options)
    const window = lease.claim()
    const ceilingMs = window.ceiling()
    await on.clock.advance(60_000)
    expect(window.ceiling()).toBe(ceilingMs)
  })

  test('is noticed in a process that was stopped: assertHeld asks the clock, no timer', async () => {
    const on = new WorkerIdsOn()
    const lease = await on.workerIds.acquire(options)
    on.clock.freeze(14_847)
    expect(() => lease.assertHeld()).not.toThrow()
    on.clock.freeze(1)
    expect(lease).toMatchObject({ held: false, signal: { aborted: false } })
    expect(() => lease.assertHeld()).toThrow(lost)
    expect(lease.signal.reason).toEqual(lost)
    expect(on.reported).toEqual([lost])
  })

  test('is noticed on a machine that was suspended, where timers stood still, within a second', async () => {
    const on = new WorkerIdsOn({ renew: away })
    const lease = await on.workerIds.acquire(options)
    on.clock.jumpWallClock(60_000)
    expect(lease).toMatchObject({ held: false, signal: { aborted: false } })
    await on.clock.advance(1_000)
    expect(lease.signal.reason).toEqual(lost)
  })

  test('is never prolonged by a clock that is set back', async () => {
    const on = new WorkerIdsOn({ renew: away })
    const lease = await on.workerIds.acquire(options)
    on.clock.jumpWallClock(-3_600_000)
    expect(lease.remainingMs()).toBe(14_848)
    await on.clock.advance(14_848)
    expect(lease.held).toBe(false)
  })
})

describe('releasing a worker id', () => {
  test('is one call, however often, and no loss', async () => {
    const on = new WorkerIdsOn()
    const lease = await on.workerIds.acquire(options)
    await Promise.all([lease.release(), lease.release(), lease[Symbol.asyncDispose]()])
    expect(on.times('release')).toHaveLength(1)
    expect(lease).toMatchObject({ held: false, signal: { aborted: false } })
    expect(lease.remainingMs()).toBe(0)
    expect(() => lease.assertHeld()).toThrow(released)
    expect(on.clock.pendingTimers).toBe(0)
    expect(on.reported).toEqual([])
  })

  test('goes on through a short outage', async () => {
    const on = new WorkerIdsOn({ release: away })
    const lease = await on.workerIds.acquire(options)
    const releasing = watch(lease.release())
    await on.clock.advance(1_000)
    delete on.answers.release
    await on.clock.advance(500)
    expect(releasing.state).toBe('resolved')
    expect(on.table.holders()).toEqual([])
  })

  test('rejects when the backend could not be told within callTimeoutMs, each time', async () => {
    const on = new WorkerIdsOn({ release: away })
    const lease = await on.workerIds.acquire(options)
    const releasing = watch(lease.release())
    await on.clock.advance(5_000)
    expect(releasing.value).toMatchObject({ code: 'UNAVAILABLE' })
    const asked = on.times('release').length
    expect(await failureOf(() => lease.release())).toBe(releasing.value)
    expect(on.times('release')).toHaveLength(asked)
    expect(on.reported).toEqual([])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('by `await using` reports the failure, which must not replace the one of the block', async () => {
    const on = new WorkerIdsOn({ release: away })
    const block = async (): Promise<void> => {
      await using lease = await on.workerIds.acquire(options)
      throw new Error(`in the block of ${lease.id}`)
    }
    const running = watch(block())
    await on.clock.advance(5_000)
    expect(running.value).toMatchObject({ message: 'in the block of 0' })
    expect(on.reported).toMatchObject([{ code: 'UNAVAILABLE' }])
  })

  test('after a lease that ran out still gives the id back', async () => {
    const on = new WorkerIdsOn({ renew: away })
    const lease = await on.workerIds.acquire(options)
    await on.clock.advance(20_000)
    await lease.release()
    expect(on.table.holders()).toEqual([])
    expect(on.clock.pendingTimers).toBe(0)
  })
})
