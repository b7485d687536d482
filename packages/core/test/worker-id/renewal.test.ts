import { describe, expect, test } from 'vitest'
import { MultinodeError, type RenewReply } from '../../src/index.ts'
import { Later, never } from '../support/outcome.ts'
import { away, WorkerIdsOn } from './worker-ids-on.ts'

const lost = expect.objectContaining({ code: 'LOST', details: { id: 0 } })
const options = { prefer: 0 }

describe('the renewal of a lease', () => {
  test('is every third of it, for ever', async () => {
    const on = new WorkerIdsOn()
    const lease = await on.workerIds.acquire(options)
    await on.clock.advance(60_000)
    expect(on.times('renew')).toEqual(Array.from({ length: 12 }, (_, round) => (round + 1) * 5_000))
    expect(lease).toMatchObject({ held: true, signal: { aborted: false } })
    expect(on.workerIds.stats()).toMatchObject({ renewed: 12, held: [0] })
    await lease.release()
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('tells what was used and what is known of the window, and raises the ceiling', async () => {
    const on = new WorkerIdsOn()
    const lease = await on.workerIds.acquire({ ...options, ownerKey: 'me' })
    const window = lease.claim()
    const { floorMs, ceilingMs, untilMs } = lease.window
    window.used(ceilingMs)
    await on.clock.advance(5_000)
    const { token, terms } = lease.grant
    const known = expect.objectContaining({ floorMs, ceilingMs, untilMs })
    const nowMs = on.clock.wallMs()
    expect(on.requests('renew')).toEqual([
      { id: 0, token, ownerKey: 'me', terms, usedMs: ceilingMs, window: known, nowMs },
    ])
    expect(window.floor()).toBe(floorMs)
    expect(window.ceiling()).toBe(nowMs + terms.leaseMs + terms.maxAheadMs)
  })

  test('counts from when it was sent', async () => {
    const on = new WorkerIdsOn()
    const lease = await on.workerIds.acquire(options)
    const answer = new Later<void>()
    on.answers.renew = async (request) => {
      await answer.promise
      return on.table.renew(request)
    }
    await on.clock.advance(6_000)
    answer.resolve()
    await on.clock.advance(0)
    expect(lease.remainingMs()).toBe(13_848)
  })

  test('never overlaps another: an attempt that is not answered ends by its deadline, and is repeated', async () => {
    const on = new WorkerIdsOn({ renew: never })
    await on.workerIds.acquire(options)
    await on.clock.advance(5_000)
    expect(on.calls.at(-1)).toMatchObject({ verb: 'renew', timeoutMs: 2_500 })
    await on.clock.advance(2_625 + 499)
    expect(on.times('renew')).toEqual([5_000])
    await on.clock.advance(501)
    expect(on.times('renew')).toHaveLength(2)
  })

  test('is repeated within a second after a failure, which is not reported as long as it may pass', async () => {
    const on = new WorkerIdsOn({ renew: away })
    const lease = await on.workerIds.acquire(options)
    await on.clock.advance(8_001)
    expect(on.times('renew').length).toBeGreaterThanOrEqual(4)
    expect(on.times('renew').length).toBeLessThanOrEqual(7)
    delete on.answers.renew
    await on.clock.advance(1_000)
    expect(lease.held).toBe(true)
    expect(lease.remainingMs()).toBeGreaterThan(13_000)
    expect(on.reported).toEqual([])
  })

  test('reports a failure that does not pass, and goes on', async () => {
    const broken = new MultinodeError('INTERNAL', 'broken')
    const on = new WorkerIdsOn({ renew: () => Promise.reject(broken) })
    await on.workerIds.acquire(options)
    await on.clock.advance(5_000)
    expect(on.reported).toEqual([broken])
    await on.clock.advance(5_000)
    expect(on.times('renew').length).toBeGreaterThan(5)
    expect(on.reported).toEqual([broken])
    delete on.answers.renew
    await on.clock.advance(1_000)
    expect(on.workerIds.stats().renewed).toBe(1)
  })

  test('resumes after an outage that was longer than the lease: the window goes on, the signal stays aborted', async () => {
    const on = new WorkerIdsOn({ renew: away })
    const lease = await on.workerIds.acquire(options)
    const window = lease.claim()
    const [floorMs, ceilingMs] = [window.floor(), window.ceiling()]
    await on.clock.advance(60_000)
    expect(window.ceiling()).toBe(ceilingMs)
    delete on.answers.renew
    await on.clock.advance(1_000)
    expect(window.floor()).toBe(floorMs)
    expect(window.ceiling()).toBeGreaterThan(ceilingMs + 40_000)
    expect(lease.signal.reason).toEqual(lost)
    expect(lease.held).toBe(false)
    expect(() => lease.assertHeld()).toThrow(lost)
    await on.clock.advance(60_000)
    expect(on.reported).toEqual([lost])
    expect(on.workerIds.stats()).toMatchObject({ lost: 0, held: [] })
    await lease.release()
    expect(on.table.holders()).toEqual([])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('asks again when it is told to come later, at the latest after a third of the lease', async () => {
    const replies: RenewReply[] = [
      { status: 'later', retryAfterMs: 200 },
      { status: 'later', retryAfterMs: 60_000 },
      { status: 'later', retryAfterMs: 0 },
    ]
    const on = new WorkerIdsOn()
    on.answers.renew = async (request) => replies.shift() ?? on.table.renew(request)
    const lease = await on.workerIds.acquire(options)
    const window = lease.claim()
    const ceilingMs = window.ceiling()
    await on.clock.advance(10_200)
    expect(on.times('renew')).toEqual([5_000, 5_200, 10_200])
    expect(window.ceiling()).toBe(ceilingMs)
    await on.clock.advance(1)
    expect(window.ceiling()).toBeGreaterThan(ceilingMs)
    expect(on.workerIds.stats().renewed).toBe(1)
    expect(on.reported).toEqual([])
  })

  test('takes over a floor that rose, because the backend had lost what it knew', async () => {
    const on = new WorkerIdsOn()
    const lease = await on.workerIds.acquire(options)
    const window = lease.claim()
    const floorMs = on.clock.wallMs() + 40_000
    on.answers.renew = async ({ nowMs }) => ({
      status: 'renewed',
      floorMs,
      ceilingMs: floorMs + 1_000,
      untilMs: nowMs + 15_000,
      backendMs: nowMs,
    })
    await on.clock.advance(5_000)
    expect([window.floor(), window.ceiling()]).toEqual([floorMs, floorMs + 1_000])
    await lease.release()
    expect(on.requests('release')).toMatchObject([{ usedMs: floorMs - 1 }])
  })

  test('that is told the id is lost ends it for good, and says so once', async () => {
    const on = new WorkerIdsOn({ renew: async () => ({ status: 'lost' }) })
    const lease = await on.workerIds.acquire(options)
    const window = lease.claim()
    await on.clock.advance(5_000)
    expect(lease.signal.reason).toEqual(lost)
    expect(() => window.ceiling()).toThrow(lost)
    expect(() => lease.assertHeld()).toThrow(lost)
    expect(lease.held).toBe(false)
    expect(on.reported).toEqual([lost])
    expect(on.workerIds.stats()).toMatchObject({ lost: 1, renewed: 0, held: [] })
    await on.clock.advance(60_000)
    await lease.release()
    await on.workerIds.close()
    expect(on.times('renew')).toEqual([5_000])
    expect(on.times('release')).toEqual([])
    expect(on.reported).toHaveLength(1)
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('whose answer comes after the release changes nothing', async () => {
    for (const reply of ['renewed', 'lost'] as const) {
      const on = new WorkerIdsOn()
      const answer = new Later<void>()
      on.answers.renew = async (request) => {
        const renewed = on.table.renew(request)
        await answer.promise
        return reply === 'lost' ? { status: 'lost' } : renewed
      }
      const lease = await on.workerIds.acquire(options)
      await on.clock.advance(5_000)
      await lease.release()
      answer.resolve()
      await on.clock.advance(60_000)
      expect(lease.signal.aborted).toBe(false)
      expect(on.workerIds.stats()).toMatchObject({ released: 1, lost: 0, renewed: 0, held: [] })
      expect(on.reported).toEqual([])
      expect(on.clock.pendingTimers).toBe(0)
    }
  })
})

describe('a clock that goes wrong while an id is held', () => {
  test('is reported once for each time that it begins, in each direction', async () => {
    const on = new WorkerIdsOn()
    let skewMs = 0
    on.answers.renew = async (request) => {
      const reply = on.table.renew(request)
      return reply.status === 'renewed' ? { ...reply, backendMs: request.nowMs - skewMs } : reply
    }
    const lease = await on.workerIds.acquire(options)
    const skews = [0, 5_000, 5_001, 9_000, 0, -5_001, -5_001, 6_000]
    for (const each of skews) {
      skewMs = each
      await on.clock.advance(5_000)
    }
    expect(on.reported).toMatchObject([
      { code: 'CLOCK_SKEW', details: { skewMs: 5_001, maxSkewMs: 5_000 } },
      { code: 'CLOCK_SKEW', details: { skewMs: -5_001, maxSkewMs: 5_000 } },
      { code: 'CLOCK_SKEW', details: { skewMs: 6_000, maxSkewMs: 5_000 } },
    ])
    expect(lease.held).toBe(true)
  })
})
