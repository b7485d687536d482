import { describe, expect, test } from 'vitest'
import type { Lease, Locks } from '../../src/index.ts'
import { failureOf, Later, never, watch } from '../support/outcome.ts'
import { LocksOn } from '../support/locks-on.ts'

/** As plain JavaScript calls them: any argument at all. */
function untyped(
  locks: Locks,
  method: 'run' | 'acquire' | 'tryAcquire',
  args: readonly unknown[],
): Promise<unknown> {
  const call: unknown = Reflect.get(locks, method)
  if (typeof call !== 'function') throw new Error(`no ${method}`)
  return Promise.resolve(Reflect.apply(call, locks, args))
}

describe('the arguments of locks', () => {
  const methods = ['run', 'acquire', 'tryAcquire'] as const
  const common: readonly (readonly [string, unknown, unknown, string])[] = [
    ['an empty key', '', {}, 'key'],
    ['a key of 1,025 characters', 'x'.repeat(1_025), {}, 'key'],
    ['a key with a lone surrogate', 'a\uD83D', {}, 'key'],
    ['a key that is no text', 42, {}, 'key'],
    ['no key', undefined, {}, 'key'],
    ['ttlMs 0', 'key', { ttlMs: 0 }, 'ttlMs'],
    ['ttlMs 9', 'key', { ttlMs: 9 }, 'ttlMs'],
    ['ttlMs -1', 'key', { ttlMs: -1 }, 'ttlMs'],
    ['ttlMs 10.5', 'key', { ttlMs: 10.5 }, 'ttlMs'],
    ['ttlMs NaN', 'key', { ttlMs: Number.NaN }, 'ttlMs'],
    ['ttlMs beyond what timers can count', 'key', { ttlMs: 2_147_483_648 }, 'ttlMs'],
    ['ttlMs as text', 'key', { ttlMs: '1000' }, 'ttlMs'],
    ['a misspelt option', 'key', { ttl: 1_000 }, 'ttl'],
    ['null for options', 'key', null, 'the options of'],
    ['a number for options', 'key', 30_000, 'the options of'],
  ]
  const ofWaiting: readonly (readonly [string, unknown, unknown, string])[] = [
    ['waitMs -1', 'key', { waitMs: -1 }, 'waitMs'],
    ['waitMs 1.5', 'key', { waitMs: 1.5 }, 'waitMs'],
    ['waitMs Infinity', 'key', { waitMs: Number.POSITIVE_INFINITY }, 'waitMs'],
    ['a signal that is none', 'key', { signal: {} }, 'signal'],
  ]
  const table = methods.flatMap((method) =>
    [...common, ...(method === 'tryAcquire' ? [] : ofWaiting)].map((row) => [method, ...row] as const),
  )

  test.each(table)('%s refuses %s', async (method, _, key, options, name) => {
    const on = new LocksOn()
    let runs = 0
    const args = method === 'run' ? [key, () => (runs += 1), options] : [key, options]
    const error = await failureOf(() => untyped(on.locks, method, args))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', retryable: false })
    expect(error).toMatchObject({ details: { name: expect.stringContaining(name) } })
    expect([runs, on.lock.calls.length]).toEqual([0, 0])
    expect(on.locks.stats()).toMatchObject({ refused: 0, waiting: 0 })
  })

  test.each([
    ['waitMs', { waitMs: 100 }],
    ['signal', { signal: AbortSignal.abort() }],
  ])('tryAcquire, which never waits, has no option %s', async (name, options) => {
    const on = new LocksOn()
    await expect(untyped(on.locks, 'tryAcquire', ['key', options])).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: `tryAcquire has no option "${name}"; it knows ttlMs.`,
    })
  })

  test('run refuses a routine that is no function, and names itself in a misspelt option', async () => {
    const { locks } = new LocksOn()
    await expect(untyped(locks, 'run', ['key', { ttlMs: 1_000 }])).rejects.toThrow(
      'routine is of type Object',
    )
    await expect(untyped(locks, 'run', ['key', never, { ttl: 1 }])).rejects.toThrow('run has no option "ttl"')
  })

  test('the smallest and the largest values are accepted', async () => {
    const on = new LocksOn()
    expect(await on.locks.run('x'.repeat(1_024), () => 1, { ttlMs: 10, waitMs: 0 })).toBe(1)
    expect(await on.locks.run('k', () => 2, { ttlMs: 2_147_483_647, waitMs: 2_147_483_647 })).toBe(2)
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('the defaults are a ttl of 30 s and a wait of 10 s', async () => {
    const on = new LocksOn()
    const lease = await on.locks.acquire('one')
    expect(lease.remainingMs()).toBe(29_698)
    expect((await on.locks.tryAcquire('two'))?.remainingMs()).toBe(29_698)
    on.occupy('key')
    const waiting = watch(on.locks.acquire('key'))
    await on.clock.advance(9_999)
    expect(waiting.state).toBe('pending')
    await on.clock.advance(1)
    expect(waiting.state).toBe('rejected')
  })
})

describe('locks', () => {
  test('an acquisition without contention is one call, and giving back is another', async () => {
    const on = new LocksOn()
    const lease = await on.locks.acquire('key')
    expect(lease).toMatchObject({ key: 'key', held: true })
    expect(await lease.release()).toBe('released')
    expect(on.lock.calls).toMatchObject([
      { verb: 'acquire', timeoutMs: 5_000 },
      { verb: 'release', timeoutMs: 5_000 },
    ])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('tokens strictly increase, over keys and nodes', async () => {
    const on = new LocksOn()
    const other = on.node()
    const tokens: number[] = []
    for (let round = 0; round < 20; round += 1) {
      const locks = round % 2 === 0 ? on.locks : other
      tokens.push(await locks.run(`key-${round % 3}`, ({ token }) => token))
    }
    expect(tokens.every((token, index) => token > (tokens[index - 1] ?? 0))).toBe(true)
  })

  test('owners never repeat, over acquisitions and nodes', async () => {
    const on = new LocksOn()
    for (const locks of [on.locks, on.node(), on.node()]) {
      await locks.run('key', () => {})
      await locks.tryAcquire('other')
    }
    const owners = on.lock.calls.filter(({ verb }) => verb === 'acquire').map(({ owner }) => owner)
    expect(new Set(owners).size).toBe(6)
  })

  test('`await using` gives the lock back at the end of the block', async () => {
    const on = new LocksOn()
    {
      await using lease = await on.locks.acquire('key')
      expect(lease.held).toBe(true)
      expect(on.isFree('key')).toBe(false)
    }
    expect(on.isFree('key')).toBe(true)
  })

  test('wraps what a driver throws in extend and release exactly once', async () => {
    const odd = new TypeError('odd')
    const on = new LocksOn({ extend: () => Promise.reject(odd), release: () => Promise.reject(odd) })
    const lease = await on.locks.acquire('key')
    const errors = [await failureOf(() => lease.extend()), await failureOf(() => lease.release())]
    expect(errors).toMatchObject([{ code: 'INTERNAL' }, { code: 'INTERNAL' }])
    for (const error of errors) expect(error).toHaveProperty('cause', odd)
  })

  test('extend and release of a driver that never answers end with TIMEOUT at the deadline of calls', async () => {
    const on = new LocksOn({ extend: never, release: never })
    const lease = await on.locks.acquire('key')
    const outcomes = [watch(lease.extend()), watch(lease.release())]
    await on.clock.advance(5_250)
    expect(outcomes).toMatchObject([{ value: { code: 'TIMEOUT' } }, { value: { code: 'TIMEOUT' } }])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('gives access to the driver underneath', () => {
    const on = new LocksOn()
    expect(on.locks.driver).toBe(on.lock.driver)
  })
})

describe('the counters of locks', () => {
  test('say what happened since the start, and what is so now', async () => {
    const on = new LocksOn()
    const { locks, clock } = on
    expect(locks.stats()).toEqual({ acquired: 0, refused: 0, released: 0, lost: 0, held: 0, waiting: 0 })

    const kept = await locks.acquire('kept', { ttlMs: 60_000 })
    const short: Lease = await locks.acquire('short', { ttlMs: 1_000 })
    await locks.run('ran', () => {})
    on.occupy('key')
    expect(await locks.tryAcquire('key')).toBeNull()
    const waiting = watch(locks.acquire('key', { waitMs: 2_000 }))
    expect(locks.stats()).toEqual({ acquired: 3, refused: 1, released: 1, lost: 0, held: 2, waiting: 1 })

    await clock.advance(2_000)
    expect(waiting.state).toBe('rejected')
    expect(await short.release()).toBe('expired')
    expect(locks.stats()).toEqual({ acquired: 3, refused: 2, released: 1, lost: 1, held: 1, waiting: 0 })

    await kept.release()
    expect(locks.stats()).toEqual({ acquired: 3, refused: 2, released: 2, lost: 1, held: 0, waiting: 0 })
  })
})

describe('draining and closing locks', () => {
  test('after a drain locks are refused, and what still waited is ended', async () => {
    const on = new LocksOn()
    on.occupy('key')
    const waiting = watch(on.locks.acquire('key', { waitMs: 60_000 }))
    const draining = watch(on.locks.drain(100))
    await on.clock.advance(100)
    expect(draining.value).toEqual(['key'])
    expect(waiting.value).toMatchObject({ code: 'CLOSED' })
    await expect(on.locks.tryAcquire('other')).rejects.toMatchObject({ code: 'CLOSED' })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('drain waits for what is held and for what is waited for', async () => {
    const on = new LocksOn()
    on.occupy('key')
    const lease = await on.locks.acquire('other')
    const routine = new Later<void>()
    const waiting = watch(on.locks.run('key', () => routine.promise, { waitMs: 60_000 }))
    const draining = watch(on.locks.drain(60_000))
    await lease.release()
    await on.clock.advance(1_000)
    expect(draining.state).toBe('pending')
    on.vacate('key')
    await on.clock.advance(0)
    expect([on.locks.stats().held, draining.state]).toEqual([1, 'pending'])
    routine.resolve()
    await on.clock.advance(0)
    expect([waiting.state, draining.value]).toEqual(['resolved', []])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('a lost lease is not waited for', async () => {
    const on = new LocksOn()
    await on.locks.acquire('key', { ttlMs: 1_000 })
    const draining = watch(on.locks.drain(60_000))
    await on.clock.advance(1_000)
    expect(draining.value).toEqual([])
  })

  test('closing resolves though the driver never answers a cancel', async () => {
    const on = new LocksOn({ acquire: never, cancel: never })
    const waiting = watch(on.locks.acquire('key'))
    await on.clock.advance(0)
    const closing = watch(on.locks.close())
    await on.clock.advance(0)
    expect([waiting.state, closing.state]).toEqual(['rejected', 'pending'])
    await on.clock.advance(5_250)
    expect(closing.state).toBe('resolved')
    expect(on.reported).toMatchObject([{ code: 'TIMEOUT' }])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('a grant that arrives in the very moment of closing is undone, or its lease is lost; never held', async () => {
    const ways = new Set<string>()
    for (let microtasks = 0; microtasks < 40; microtasks += 1) {
      const on = new LocksOn()
      const acquiring = watch(on.locks.acquire('key'))
      for (let passed = 0; passed < microtasks; passed += 1) await Promise.resolve()
      await on.locks.close()
      await on.clock.advance(0)
      const refused = acquiring.state === 'rejected'
      ways.add(refused ? 'refused' : 'lost')
      const ended = refused ? { code: 'CLOSED' } : { held: false, signal: { aborted: true } }
      expect(acquiring.value).toMatchObject(ended)
      expect(on.isFree('key')).toBe(refused)
      expect(on.clock.pendingTimers).toBe(0)
    }
    expect([...ways]).toEqual(['refused', 'lost'])
  })
})
