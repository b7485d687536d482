import { describe, expect, test } from 'vitest'
import { type AcquireReply, MultinodeError } from '../../src/index.ts'
import { failureOf, Later, never, watch } from '../support/outcome.ts'
import { LocksOn } from '../support/locks-on.ts'

const gone = new MultinodeError('UNAVAILABLE', 'gone', { outcome: 'unknown' })
const notSent = new MultinodeError('UNAVAILABLE', 'refused', { outcome: 'not-sent' })

describe('acquire, while others hold the lock', () => {
  test('gets it when it is released, by the push', async () => {
    const on = new LocksOn()
    on.occupy('key')
    const waiting = watch(on.locks.acquire('key', { waitMs: 60_000 }))
    await on.clock.advance(1_000)
    on.vacate('key')
    await on.clock.advance(0)
    expect(waiting).toMatchObject({ state: 'resolved', value: { held: true } })
    expect(on.lock.times('acquire')).toEqual([0, 1_000])
    expect(on.lock.verbs()).not.toContain('cancel')
  })

  test('asks at least every 5.5 s, should a push be lost', async () => {
    const on = new LocksOn()
    on.occupy('key')
    const waiting = watch(on.locks.acquire('key', { waitMs: 60_000 }))
    await on.clock.advance(59_000)
    const times = on.lock.times('acquire')
    const pauses = times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0))
    expect(pauses.length).toBeGreaterThanOrEqual(10)
    for (const pause of pauses) expect(pause >= 5_000 && pause <= 5_500).toBe(true)
    expect(waiting.state).toBe('pending')
    await on.clock.advance(2_000)
    expect(waiting.state).toBe('rejected')
  })

  test('asks at least every 110 ms where nobody pushes', async () => {
    const on = new LocksOn({}, { pushes: false })
    on.occupy('key')
    const waiting = watch(on.locks.acquire('key', { waitMs: 10_000 }))
    await on.clock.advance(1_000)
    expect(on.lock.times('acquire').length).toBeGreaterThanOrEqual(9)
    expect(on.lock.times('acquire').length).toBeLessThanOrEqual(11)
    on.vacate('key')
    await on.clock.advance(110)
    expect(waiting.state).toBe('resolved')
  })

  test('asks again when the lease of the holder should have ended', async () => {
    const on = new LocksOn()
    on.lock.store.acquire({ key: 'key', owner: 'dead', ttlMs: 700, waitMs: 0 })
    const waiting = watch(on.locks.acquire('key'))
    await on.clock.advance(770)
    expect(waiting.state).toBe('resolved')
    expect(on.lock.times('acquire')).toHaveLength(2)
  })

  test('a push that comes while it asks is not lost', async () => {
    const on = new LocksOn()
    on.occupy('key')
    const answer = new Later<AcquireReply>()
    on.lock.answers.acquire = (request) => {
      on.lock.store.acquire(request)
      return answer.promise
    }
    const waiting = watch(on.locks.acquire('key', { waitMs: 60_000 }))
    await on.clock.advance(10)
    on.vacate('key')
    delete on.lock.answers.acquire
    answer.resolve({ status: 'busy', retryAfterMs: 30_000 })
    await on.clock.advance(1)
    expect(waiting.state).toBe('resolved')
  })

  test('listens for a push for as long as it waits, and no longer', async () => {
    const on = new LocksOn()
    on.occupy('key')
    const [short, long] = [100, 60_000].map((waitMs) => watch(on.locks.acquire('key', { waitMs })))
    await on.clock.advance(0)
    expect(on.lock.listening.size).toBe(2)
    await on.clock.advance(100)
    expect([short?.state, on.lock.listening.size]).toEqual(['rejected', 1])
    on.vacate('key')
    await on.clock.advance(0)
    expect([long?.state, on.lock.listening.size]).toEqual(['resolved', 0])
  })

  test('is served in the order in which it asked, over two nodes', async () => {
    const on = new LocksOn()
    on.occupy('key')
    const nodes = [on.locks, on.node()]
    const served: number[] = []
    for (let index = 0; index < 6; index += 1) {
      void nodes[index % 2]?.run('key', () => served.push(index), { waitMs: 60_000 })
      await on.clock.advance(1)
    }
    on.vacate('key')
    await on.clock.advance(1_000)
    expect(served).toEqual([0, 1, 2, 3, 4, 5])
  })

  test('ends with TIMEOUT after waitMs, says for which lock, and leaves the queue', async () => {
    const on = new LocksOn()
    on.occupy('key')
    const waiting = watch(on.locks.acquire('key', { waitMs: 1_000 }))
    await on.clock.advance(999)
    expect(waiting.state).toBe('pending')
    await on.clock.advance(1)
    expect(waiting.value).toMatchObject({
      code: 'TIMEOUT',
      retryable: true,
      capability: 'lock',
      backend: 'steered',
      details: { key: 'key', waitMs: 1_000 },
      message: expect.stringContaining('The lock "key" was not granted within 1000 ms'),
    })
    expect(on.lock.verbs().at(-1)).toBe('cancel')
    on.vacate('key')
    expect(on.isFree('key')).toBe(true)
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('with waitMs 0 it asks once', async () => {
    const on = new LocksOn()
    on.occupy('key')
    expect(await failureOf(() => on.locks.acquire('key', { waitMs: 0 }))).toMatchObject({ code: 'TIMEOUT' })
    expect(on.lock.times('acquire')).toHaveLength(1)
  })

  test('a wall clock that is set does not end the waiting', async () => {
    const on = new LocksOn()
    on.occupy('key')
    const waiting = watch(on.locks.acquire('key', { waitMs: 1_000 }))
    await on.clock.advance(1)
    on.clock.jumpWallClock(3_600_000)
    on.vacate('key')
    await on.clock.advance(1)
    expect(waiting.state).toBe('resolved')
  })
})

describe('tryAcquire', () => {
  test('gives null when another holds the lock, or has a place before it', async () => {
    const on = new LocksOn()
    on.occupy('key')
    expect(await on.locks.tryAcquire('key')).toBeNull()
    on.lock.store.acquire({ key: 'key', owner: 'waiter', ttlMs: 10_000, waitMs: 10_000 })
    on.vacate('key')
    expect(await on.locks.tryAcquire('key')).toBeNull()
    expect(on.lock.times('acquire')).toHaveLength(2)
  })

  test('does not repeat a failure', async () => {
    const on = new LocksOn({ acquire: () => Promise.reject(gone) })
    expect(await failureOf(() => on.locks.tryAcquire('key'))).toBe(gone)
    await on.clock.advance(0)
    expect(on.lock.verbs()).toEqual(['acquire', 'cancel'])
  })

  test('cancels nothing that was certainly not sent: there is nothing to undo, and the backend is away', async () => {
    const on = new LocksOn({ acquire: () => Promise.reject(notSent) })
    expect(await failureOf(() => on.locks.tryAcquire('key'))).toBe(notSent)
    await on.clock.advance(6_000)
    expect([on.lock.verbs(), on.reported]).toEqual([['acquire'], []])
  })

  test('cancels what an earlier attempt may have sent, though the last one was refused', async () => {
    const on = new LocksOn({ acquire: () => Promise.reject(gone) })
    const waiting = watch(on.locks.acquire('key', { waitMs: 500 }))
    await on.clock.advance(200)
    on.lock.answers.acquire = () => Promise.reject(notSent)
    await on.clock.advance(300)
    expect(waiting.value).toBe(notSent)
    expect(on.lock.verbs().at(-1)).toBe('cancel')
  })
})

describe('acquire, and an AbortSignal', () => {
  test.each<readonly [string, LocksOn['lock']['answers']]>([
    ['while it waits for its turn', {}],
    ['while it waits for an answer', { acquire: never }],
  ])('ends at once %s, with the reason as its cause, and undoes what was asked', async (_, answers) => {
    const on = new LocksOn(answers)
    on.occupy('key')
    const abort = new AbortController()
    const waiting = watch(on.locks.acquire('key', { waitMs: 60_000, signal: abort.signal }))
    await on.clock.advance(100)
    abort.abort(new Error('enough'))
    await on.clock.advance(0)
    expect(waiting.value).toMatchObject({
      code: 'ABORTED',
      cause: { message: 'enough' },
      details: { key: 'key' },
    })
    expect(on.lock.verbs()).toEqual(['acquire', 'cancel'])
    await on.clock.advance(6_000)
    expect(on.lock.verbs()).toEqual(['acquire', 'cancel'])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('a signal that was aborted before asks nobody for the lock', async () => {
    const on = new LocksOn()
    const signal = AbortSignal.abort(new Error('enough'))
    expect(await failureOf(() => on.locks.acquire('key', { signal }))).toMatchObject({ code: 'ABORTED' })
    expect(on.lock.verbs()).not.toContain('acquire')
  })

  test('a grant that comes after the abort is undone', async () => {
    const answer = new Later<void>()
    const on = new LocksOn()
    on.lock.answers.acquire = async (request) => {
      await answer.promise
      return on.lock.store.acquire(request)
    }
    const abort = new AbortController()
    const waiting = watch(on.locks.acquire('key', { signal: abort.signal }))
    await on.clock.advance(0)
    abort.abort()
    answer.resolve()
    await on.clock.advance(0)
    expect(waiting.value).toMatchObject({ code: 'ABORTED' })
    expect(on.isFree('key')).toBe(true)
  })

  test('has no effect once the lock is held, and leaves no listener on the signal', async () => {
    const on = new LocksOn()
    const listeners = new Set<unknown>()
    class CountedSignal extends EventTarget {}
    const abort = new AbortController()
    const { signal } = abort
    const counted = new CountedSignal()
    signal.addEventListener = (...[type, listener]: Parameters<EventTarget['addEventListener']>): void => {
      listeners.add(listener)
      counted.addEventListener(type, listener)
    }
    signal.removeEventListener = (...[, listener]: Parameters<EventTarget['removeEventListener']>): void => {
      listeners.delete(listener)
    }
    const lease = await on.locks.acquire('key', { signal })
    expect(listeners.size).toBe(0)
    abort.abort()
    await on.clock.advance(0)
    expect(lease).toMatchObject({ held: true, signal: { aborted: false } })
    expect(on.lock.verbs()).toEqual(['acquire'])
  })
})

describe('acquire, and a backend in trouble', () => {
  test('repeats a failure that is worth it, every 50 to 100 ms, until it is granted', async () => {
    const on = new LocksOn({ acquire: () => Promise.reject(gone) })
    const waiting = watch(on.locks.acquire('key', { waitMs: 10_000 }))
    await on.clock.advance(1_000)
    const attempts = on.lock.times('acquire').length
    expect(attempts >= 10 && attempts <= 21).toBe(true)
    delete on.lock.answers.acquire
    await on.clock.advance(100)
    expect(waiting.state).toBe('resolved')
    const owners = new Set(on.lock.calls.map(({ owner }) => owner))
    expect(owners.size).toBe(1)
  })

  test('rejects with the last failure when the time is over, and cancels', async () => {
    const on = new LocksOn({ acquire: () => Promise.reject(gone) })
    const waiting = watch(on.locks.acquire('key', { waitMs: 500 }))
    await on.clock.advance(500)
    expect(waiting.value).toBe(gone)
    expect(on.lock.verbs().at(-1)).toBe('cancel')
    expect(on.clock.pendingTimers).toBe(0)
  })

  test.each(['MISCONFIGURED', 'REJECTED', 'CLOSED', 'UNSUPPORTED'] as const)(
    'does not repeat %s, and cancels',
    async (code) => {
      const error = new MultinodeError(code, 'no')
      const on = new LocksOn({ acquire: () => Promise.reject(error) })
      expect(await failureOf(() => on.locks.acquire('key'))).toBe(error)
      expect(on.lock.verbs()).toEqual(['acquire', 'cancel'])
    },
  )

  test('wraps an error that is not typed exactly once, and does not repeat it', async () => {
    const on = new LocksOn({ acquire: () => Promise.reject(new TypeError('odd')) })
    const error = await failureOf(() => on.locks.acquire('key'))
    expect(error).toMatchObject({ code: 'INTERNAL', cause: { name: 'TypeError' } })
    expect(on.lock.times('acquire')).toHaveLength(1)
  })

  test('reports a cancel that fails, and the caller keeps its own error', async () => {
    const on = new LocksOn({ cancel: () => Promise.reject(gone) })
    on.occupy('key')
    const waiting = watch(on.locks.acquire('key', { waitMs: 100 }))
    await on.clock.advance(100)
    expect(waiting.value).toMatchObject({ code: 'TIMEOUT' })
    await on.clock.advance(5_000)
    expect(on.reported).toEqual([gone])
  })

  test('repeats a cancel that met a short outage, so that no lease is left behind', async () => {
    const on = new LocksOn({ acquire: () => Promise.reject(gone), cancel: () => Promise.reject(gone) })
    const refused = await failureOf(() => on.locks.tryAcquire('key'))
    expect(refused).toBe(gone)
    await on.clock.advance(150)
    delete on.lock.answers.cancel
    await on.clock.advance(100)
    const afterwards = on.lock.times('cancel').length
    expect(afterwards).toBeGreaterThan(1)
    await on.clock.advance(5_000)
    expect(on.lock.times('cancel')).toHaveLength(afterwards)
    expect(on.reported).toEqual([])
  })

  test('repeats a cancel no more once it was closed', async () => {
    const on = new LocksOn({ acquire: () => Promise.reject(gone), cancel: () => Promise.reject(gone) })
    await failureOf(() => on.locks.tryAcquire('key'))
    const closing = watch(on.locks.close())
    await on.clock.advance(200)
    expect([closing.state, on.reported]).toEqual(['resolved', [gone]])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('says that it was cancelled when the backend refuses the owner', async () => {
    const on = new LocksOn({ acquire: async () => ({ status: 'cancelled' }) })
    expect(await failureOf(() => on.locks.acquire('key'))).toMatchObject({ code: 'ABORTED' })
  })

  test.each<readonly [waitMs: number, callTimeoutMs: number]>([
    [0, 5_000],
    [100, 5_000],
    [5_000, 5_000],
    [5_300, 5_000],
    [5_360, 5_000],
    [10_000, 5_000],
    [10_600, 5_000],
    [60_000, 5_000],
    [0, 100],
    [1_000, 100],
    [1_010, 100],
    [60, 50],
  ])(
    'settles within the longer of waitMs %d and callTimeoutMs %d, plus a tenth',
    async (waitMs, callTimeoutMs) => {
      for (let round = 0; round < 5; round += 1) {
        const on = new LocksOn({ acquire: never, cancel: never }, { callTimeoutMs })
        const limitMs = Math.max(waitMs, callTimeoutMs) * 1.1
        const outcomes = [
          watch(on.locks.acquire('key', { waitMs })),
          watch(on.locks.run('key', () => {}, { waitMs })),
          watch(on.locks.tryAcquire('key')),
        ]
        await on.clock.advance(waitMs - 1)
        expect(outcomes.slice(0, 2).map(({ state }) => state)).toEqual(['pending', 'pending'])
        await on.clock.advance(limitMs - Math.max(0, waitMs - 1))
        expect(outcomes).toMatchObject(
          outcomes.map(() => ({ state: 'rejected', value: { code: 'TIMEOUT' } })),
        )
        await on.clock.advance(callTimeoutMs * 2)
        expect(on.clock.pendingTimers).toBe(0)
      }
    },
  )
})

describe('a grant whose answer took longer than the lease', () => {
  test('is not handed out: it is asked for again, and then it is whole', async () => {
    const on = new LocksOn()
    const first = new Later<void>()
    on.lock.answers.acquire = async (request) => {
      const reply = on.lock.store.acquire(request)
      if (on.lock.times('acquire').length === 1) await first.promise
      return reply
    }
    const waiting = watch(on.locks.acquire('key', { ttlMs: 100, waitMs: 5_000 }))
    await on.clock.advance(97)
    first.resolve()
    await on.clock.advance(0)
    expect(waiting.state).toBe('pending')
    await on.clock.advance(2)
    expect(waiting.value).toMatchObject({ held: true })
    expect(on.lock.times('acquire')).toHaveLength(2)
  })

  test.each(['acquire', 'tryAcquire'] as const)(
    'is undone when there is no time to ask again: %s',
    async (call) => {
      const on = new LocksOn()
      const slow = new Later<void>()
      on.lock.answers.acquire = async (request) => {
        const reply = on.lock.store.acquire({ ...request, ttlMs: 60_000 })
        await slow.promise
        return reply
      }
      const acquiring = watch(
        call === 'acquire'
          ? on.locks.acquire('key', { ttlMs: 100, waitMs: 50 })
          : on.locks.tryAcquire('key', { ttlMs: 100 }),
      )
      await on.clock.advance(100)
      slow.resolve()
      await on.clock.advance(0)
      expect(acquiring.value).toMatchObject({ code: 'TIMEOUT' })
      expect(on.lock.verbs()).toEqual(['acquire', 'cancel'])
      expect(on.isFree('key')).toBe(true)
    },
  )

  test('is counted from when its own request was sent, not from the first', async () => {
    const on = new LocksOn()
    on.occupy('key')
    const waiting = watch(on.locks.acquire('key', { ttlMs: 1_000, waitMs: 60_000 }))
    await on.clock.advance(20_000)
    on.vacate('key')
    await on.clock.advance(0)
    expect(waiting.value).toMatchObject({ held: true })
  })
})
