import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { MultinodeError, type WorkerIdReply } from '../../src/index.ts'
import { failureOf, Later, never, watch } from '../support/outcome.ts'
import { away, grantOf, WorkerIdsOn } from './worker-ids-on.ts'

describe('acquiring a worker id', () => {
  test('is one call when one is free', async () => {
    const on = new WorkerIdsOn()
    const lease = await on.workerIds.acquire({ prefer: 3 })
    expect(lease).toMatchObject({ id: 3, held: true, signal: { aborted: false } })
    expect(on.calls).toMatchObject([{ verb: 'acquire', timeoutMs: 5_000 }])
  })

  test('waits while all are taken, asks each second, and takes the one that is released', async () => {
    const on = new WorkerIdsOn()
    const vacate = on.occupy(0)
    const waiting = watch(on.workerIds.acquire({ range: 1 }))
    await on.clock.advance(10_000)
    expect(waiting.state).toBe('pending')
    const asked = on.times('acquire').length
    expect(asked).toBeGreaterThanOrEqual(10)
    expect(asked).toBeLessThanOrEqual(11)
    vacate()
    await on.clock.advance(1_101)
    expect(waiting).toMatchObject({ state: 'resolved', value: { id: 0 } })
    expect(new Set(on.requests('acquire').map((each) => Reflect.get(Object(each), 'token'))).size).toBe(1)
  })

  test('asks again as soon as one can be free, when that is within a second', async () => {
    const on = new WorkerIdsOn({ acquire: async () => ({ status: 'exhausted', retryAfterMs: 100 }) })
    const waiting = watch(on.workerIds.acquire())
    await on.clock.advance(111)
    expect(on.times('acquire')).toHaveLength(2)
    await on.workerIds.close()
    expect(waiting.state).toBe('rejected')
  })

  test('ends with EXHAUSTED after waitMs, which says who has the ids and when to try again', async () => {
    const on = new WorkerIdsOn()
    on.occupy(0)
    on.occupy(1, 60_000)
    const waiting = watch(on.workerIds.acquire({ range: 2, waitMs: 4_000 }))
    await on.clock.advance(3_999)
    expect(waiting.state).toBe('pending')
    await on.clock.advance(1)
    expect(waiting.value).toMatchObject({
      code: 'EXHAUSTED',
      retryable: true,
      details: {
        range: 2,
        retryAfterMs: 57_000,
        holders: [
          { id: 0, ownerKey: 'somebody', state: 'held' },
          { id: 1, ownerKey: 'somebody', state: 'held' },
        ],
      },
      message:
        'No worker id of 2 was free within 4000 ms (waitMs); taken: 0 somebody (held), 1 somebody (held). ' +
        'Try again in 57000 ms, or use a larger range.',
    })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('with waitMs 0 asks once, and names five holders at most', async () => {
    const on = new WorkerIdsOn()
    for (let id = 0; id < 7; id += 1) on.occupy(id)
    await expect(on.workerIds.acquire({ range: 7, waitMs: 0 })).rejects.toThrow(
      '4 somebody (held), and 2 more. Try again',
    )
    expect(on.times('acquire')).toHaveLength(1)
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('says EXHAUSTED also when the backend cannot list the holders, or knows none', async () => {
    const on = new WorkerIdsOn({ acquire: async () => ({ status: 'exhausted', retryAfterMs: 20_000 }) })
    await expect(on.workerIds.acquire({ waitMs: 0 })).rejects.toThrow(
      'taken: none, but the backend may have lost what it knew. Try again in 20000 ms',
    )
    on.answers.holders = away
    await expect(on.workerIds.acquire({ waitMs: 0 })).rejects.toMatchObject({
      code: 'EXHAUSTED',
      details: { holders: [] },
    })
  })

  test('goes on after failures that may pass, with the same token, so that a lost reply costs no id', async () => {
    const on = new WorkerIdsOn()
    let attempts = 0
    on.answers.acquire = async (request) => {
      attempts += 1
      if (attempts < 4) on.table.acquire(request)
      return attempts < 4 ? away() : on.table.acquire(request)
    }
    const waiting = watch(on.workerIds.acquire())
    await on.clock.advance(1_000)
    expect(waiting.state).toBe('resolved')
    expect(attempts).toBe(4)
    expect(on.table.holders()).toHaveLength(1)
  })

  test('rejects with the failure when it lasts for waitMs', async () => {
    const on = new WorkerIdsOn({ acquire: away })
    const waiting = watch(on.workerIds.acquire({ waitMs: 2_000 }))
    await on.clock.advance(1_999)
    expect(waiting.state).toBe('pending')
    await on.clock.advance(1)
    expect(waiting.value).toMatchObject({ code: 'UNAVAILABLE', message: 'the backend is away' })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('rejects at once with a failure that does not pass', async () => {
    const on = new WorkerIdsOn({ acquire: () => Promise.reject(new MultinodeError('INTERNAL', 'broken')) })
    await expect(on.workerIds.acquire()).rejects.toMatchObject({ code: 'INTERNAL' })
    expect(on.times('acquire')).toHaveLength(1)
  })

  test.each([
    [0, 5_000],
    [2_000, 5_000],
    [12_000, 12_000],
  ])(
    'with waitMs %d settles within %d ms and a tenth, though nothing ever answers',
    async (waitMs, atMostMs) => {
      const on = new WorkerIdsOn({ acquire: never })
      const waiting = watch(on.workerIds.acquire({ waitMs }))
      await on.clock.advance(atMostMs * 0.9)
      expect(waiting.state).toBe('pending')
      await on.clock.advance(atMostMs * 0.2)
      expect(waiting.value).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
      expect(on.clock.pendingTimers).toBe(0)
    },
  )

  test('is refused with CLOCK_SKEW and both times when the clocks differ too much, and not repeated', async () => {
    const on = new WorkerIdsOn()
    const nowMs = on.clock.wallMs()
    on.answers.acquire = async () => ({ status: 'skewed', backendMs: nowMs - 6_000 })
    await expect(on.workerIds.acquire()).rejects.toMatchObject({
      code: 'CLOCK_SKEW',
      details: { skewMs: 6_000, maxSkewMs: 5_000 },
      message: expect.stringContaining(
        '6000 ms ahead of that of the backend (2026-01-01T00:00:00.000Z here, 2025-12-31T23:59:54.000Z there); at most 5000 ms',
      ),
    })
    on.answers.acquire = async () => ({ status: 'skewed', backendMs: nowMs + 6_000 })
    await expect(on.workerIds.acquire()).rejects.toThrow('6000 ms behind that of the backend')
    expect(on.times('acquire')).toHaveLength(2)
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('counts the lease from when the request was sent', async () => {
    const on = new WorkerIdsOn()
    const answer = new Later<WorkerIdReply>()
    on.answers.acquire = () => answer.promise
    const waiting = on.workerIds.acquire()
    await on.clock.advance(1_000)
    answer.resolve(grantOf({ nowMs: on.clock.wallMs(), terms: termsOf(15_000) }))
    expect((await waiting).remainingMs()).toBe(13_848)
  })
})

function termsOf(leaseMs: number): {
  leaseMs: number
  quarantineMs: number
  maxSkewMs: number
  maxAheadMs: number
} {
  return { leaseMs, quarantineMs: 15_000, maxSkewMs: 5_000, maxAheadMs: 5_000 }
}

describe('the end of the waiting', () => {
  const enders = [
    ['its signal', 'ABORTED', (_: WorkerIdsOn, abort: AbortController) => abort.abort(new Error('enough'))],
    ['drain', 'CLOSED', (on: WorkerIdsOn) => void on.workerIds.drain()],
    ['close', 'CLOSED', (on: WorkerIdsOn) => void on.workerIds.close()],
  ] as const

  test.each(enders)('by %s is at once, between two attempts', async (_, code, end) => {
    const on = new WorkerIdsOn()
    on.occupy(0)
    const abort = new AbortController()
    const waiting = watch(on.workerIds.acquire({ range: 1, signal: abort.signal }))
    await on.clock.advance(1_500)
    const asked = on.times('acquire').length
    end(on, abort)
    await on.clock.advance(0)
    expect(waiting.value).toMatchObject({ code })
    expect(on.clock.pendingTimers).toBe(0)
    await on.clock.advance(10_000)
    expect(on.times('acquire')).toHaveLength(asked)
  })

  test.each(enders)(
    'by %s is at once, during an attempt, whose late grant is given back',
    async (_, code, end) => {
      const on = new WorkerIdsOn()
      const answer = new Later<void>()
      on.answers.acquire = async (request) => {
        await answer.promise
        return on.table.acquire(request)
      }
      const abort = new AbortController()
      const waiting = watch(on.workerIds.acquire({ signal: abort.signal }))
      await on.clock.advance(100)
      end(on, abort)
      await on.clock.advance(0)
      expect(waiting.value).toMatchObject({ code })
      answer.resolve()
      await on.clock.advance(0)
      expect(on.requests('release')).toMatchObject([{ usedMs: 0 }])
      expect(on.table.holders()).toEqual([])
      expect(on.clock.pendingTimers).toBe(0)
    },
  )

  test('close waits until a late grant is given back', async () => {
    const on = new WorkerIdsOn()
    const answer = new Later<WorkerIdReply>()
    on.answers.acquire = () => answer.promise
    const waiting = watch(on.workerIds.acquire())
    await on.clock.advance(0)
    const closing = watch(on.workerIds.close())
    await on.clock.advance(100)
    expect([waiting.state, closing.state]).toEqual(['rejected', 'pending'])
    answer.resolve({ status: 'exhausted', retryAfterMs: 1_000 })
    await on.clock.advance(0)
    expect(closing.state).toBe('resolved')
  })

  test('at whatever moment close comes, nothing is left behind', async () => {
    for (let steps = 0; steps < 20; steps += 1) {
      const on = new WorkerIdsOn()
      const answer = new Later<void>()
      on.answers.acquire = async (request) => {
        await answer.promise
        return on.table.acquire(request)
      }
      const waiting = watch(on.workerIds.acquire())
      await on.clock.advance(0)
      answer.resolve()
      for (let step = 0; step < steps; step += 1) await Promise.resolve()
      await on.workerIds.close()
      expect({ steps, state: waiting.state, held: on.table.holders() }).toMatchObject({ steps, held: [] })
      expect({ steps, timers: on.clock.pendingTimers }).toEqual({ steps, timers: 0 })
    }
  })

  test('by a signal names its reason as the cause, also when it was aborted before', async () => {
    const on = new WorkerIdsOn()
    const error = await failureOf(() => on.workerIds.acquire({ signal: AbortSignal.abort('no') }))
    expect(error).toMatchObject({ code: 'ABORTED', cause: 'no' })
    await on.clock.advance(0)
    expect(on.table.holders()).toEqual([])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('by a signal has no effect once the id is ours', async () => {
    const on = new WorkerIdsOn()
    const abort = new AbortController()
    const lease = await on.workerIds.acquire({ signal: abort.signal })
    expect(getEventListeners(abort.signal, 'abort')).toEqual([])
    abort.abort()
    await on.clock.advance(0)
    expect(lease.held).toBe(true)
  })

  test('a signal that was aborted before sends nothing', async () => {
    const on = new WorkerIdsOn()
    await expect(on.workerIds.acquire({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    expect(on.calls).toEqual([])
  })

  test('a request that was under way for long proves nothing about the clock, and is repeated', async () => {
    const on = new WorkerIdsOn()
    on.answers.acquire = async () => {
      delete on.answers.acquire
      // Stopped between sending and arriving: by then the time that was sent is old.
      on.clock.freeze(8_000)
      return { status: 'skewed', backendMs: on.clock.wallMs() }
    }
    const acquiring = watch(on.workerIds.acquire())
    await on.clock.advance(0)
    expect(acquiring.state).toBe('pending')
    await on.clock.advance(2)
    expect(acquiring.state).toBe('resolved')
  })

  test('such a request is repeated also without time to wait, for as long as a call may take', async () => {
    const on = new WorkerIdsOn()
    const turns = async (): Promise<void> => {
      for (let each = 0; each < 5; each += 1) await on.clock.advance(2)
    }
    let late = 1
    on.answers.acquire = async () => {
      if (late-- === 0) delete on.answers.acquire
      on.clock.freeze(2_000)
      return { status: 'skewed', backendMs: on.clock.wallMs() }
    }
    const terms = { waitMs: 0, maxSkewMs: 1_000 }
    const acquiring = watch(on.workerIds.acquire(terms))
    await turns()
    expect(acquiring.state).toBe('resolved')
    expect(on.times('acquire')).toHaveLength(3)

    late = Infinity
    on.answers.acquire = async () => {
      on.clock.freeze(2_000)
      return { status: 'skewed', backendMs: on.clock.wallMs() }
    }
    const refused = watch(on.workerIds.acquire(terms))
    await turns()
    expect(refused.value).toMatchObject({
      code: 'TIMEOUT',
      retryable: true,
      message: expect.stringContaining('more than 1000 ms (maxSkewMs) each time'),
    })
    expect(on.times('acquire')).toHaveLength(6)
    await on.workerIds.close()
    expect(on.clock.pendingTimers).toBe(0)
  })
})
