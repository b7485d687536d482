import { describe, expect, test } from 'vitest'
import { failureOf, Later, watch } from '../support/outcome.ts'
import { LocksOn } from '../support/locks-on.ts'

describe('kinds of locks', () => {
  test('with equal keys never meet', async () => {
    const on = new LocksOn()
    const { locks, clock } = on
    const lock = await locks.acquire('a')
    const permit = await locks.semaphore('a', { permits: 1 }).acquire({ waitMs: 0 })
    const written = await locks.readWrite('a').write((lease) => lease.token, { waitMs: 0 })
    const fire = await locks.claimFire('a', clock.wallMs(), { atMostMs: 10_000 })
    expect(fire.status).toBe('run')
    expect(Number.isSafeInteger(written)).toBe(true)
    expect([lock.held, permit.held]).toEqual([true, true])
    expect(await locks.tryAcquire('a')).toBeNull()
    expect(await locks.semaphore('a', { permits: 1 }).tryAcquire()).toBeNull()
  })

  test('whose keys look like those of another kind never meet', async () => {
    const { locks } = new LocksOn()
    await locks.semaphore('a', { permits: 1 }).acquire()
    await locks.acquire('semaphore:a', { waitMs: 0 })
    await locks.acquire('readwrite:a', { waitMs: 0 })
    const both = locks.readWrite('semaphore:a').write(() => locks.readWrite('a').write(() => 'both'))
    expect(await both).toBe('both')
  })

  test('have one set of counters', async () => {
    const on = new LocksOn()
    const { locks, clock } = on
    const semaphore = locks.semaphore('key', { permits: 1 })
    const permit = await semaphore.acquire()
    await locks.readWrite('key').read(() => {})
    await locks.many(['a', 'b'], () => {})
    const fire = await locks.claimFire('job', clock.wallMs(), { atMostMs: 1_000 })
    expect(fire.status).toBe('run')
    expect(await semaphore.tryAcquire()).toBeNull()
    const waiting = watch(semaphore.acquire({ waitMs: 500 }))
    expect(locks.stats()).toEqual({ acquired: 5, refused: 1, released: 3, lost: 0, held: 2, waiting: 1 })
    await clock.advance(1_000)
    expect(waiting.value).toMatchObject({ code: 'TIMEOUT' })
    expect(locks.stats()).toEqual({ acquired: 5, refused: 2, released: 3, lost: 1, held: 1, waiting: 0 })
    await permit.release()
    expect(locks.stats()).toMatchObject({ released: 4, held: 0 })
  })
})

describe('draining and closing with locks of all kinds', () => {
  test('drain waits for all of them, and names those that are left', async () => {
    const on = new LocksOn()
    const { locks, clock } = on
    const routine = new Later<void>()
    const semaphore = locks.semaphore('permit', { permits: 1 })
    const permit = await semaphore.acquire({ ttlMs: 60_000 })
    const reading = watch(locks.readWrite('read').read(() => routine.promise))
    const both = watch(locks.many(['a', 'b'], () => routine.promise))
    const waiting = watch(semaphore.acquire({ waitMs: 600_000 }))
    await clock.advance(0)
    const draining = watch(locks.drain(10_000))
    await clock.advance(9_999)
    expect(draining.state).toBe('pending')
    await clock.advance(1)
    expect(draining.value).toEqual(['permit', 'read', 'a', 'b', 'permit'])
    expect([permit.held, permit.signal.aborted]).toEqual([false, true])
    expect(waiting.value).toMatchObject({ code: 'CLOSED' })
    routine.resolve()
    await clock.advance(0)
    expect([reading.value, both.value]).toMatchObject([{ code: 'LOST' }, { code: 'LOST' }])
  })

  test('drain ends with the last of them', async () => {
    const on = new LocksOn()
    const { locks, clock } = on
    const [reader, holder] = [new Later<void>(), new Later<void>()]
    const reading = watch(locks.readWrite('read').read(() => reader.promise))
    const both = watch(locks.many(['a', 'b'], () => holder.promise))
    await clock.advance(0)
    const draining = watch(locks.drain(10_000))
    reader.resolve()
    await clock.advance(1)
    expect([reading.state, draining.state]).toEqual(['resolved', 'pending'])
    holder.resolve()
    await clock.advance(1)
    expect([both.state, draining.value]).toEqual(['resolved', []])
    expect(clock.pendingTimers).toBe(0)
  })

  test('after closing, all of them are refused; what waited has left its queue', async () => {
    const on = new LocksOn()
    const { locks, clock } = on
    const lock = locks.readWrite('key')
    const semaphore = locks.semaphore('key', { permits: 1 })
    const reading = watch(lock.read(() => new Later<void>().promise))
    await clock.advance(0)
    const writing = watch(lock.write(() => {}, { waitMs: 600_000 }))
    await clock.advance(0)
    await locks.close()
    expect([reading.state, writing.value]).toMatchObject(['pending', { code: 'CLOSED' }])
    const closed = { code: 'CLOSED' }
    expect(await failureOf(() => semaphore.acquire())).toMatchObject(closed)
    expect(await failureOf(() => semaphore.tryAcquire())).toMatchObject(closed)
    expect(await failureOf(() => lock.read(() => {}))).toMatchObject(closed)
    expect(await failureOf(() => locks.many(['a'], () => {}))).toMatchObject(closed)
    // The reader's lease runs out; a writer that still stood in the queue would be before this one.
    expect(
      await on
        .node()
        .readWrite('key')
        .read(() => 'beside', { waitMs: 0 }),
    ).toBe('beside')
  })

  test('an acquisition of many that is ended by closing leaves nothing behind but leases that run out', async () => {
    const on = new LocksOn()
    on.occupy('b')
    const many = watch(on.locks.many(['a', 'b'], () => {}, { ttlMs: 1_000, waitMs: 60_000 }))
    await on.clock.advance(10)
    await on.locks.close()
    expect(many.value).toMatchObject({ code: 'CLOSED' })
    expect(on.clock.pendingTimers).toBe(0)
    await on.clock.advance(1_000)
    expect(on.isFree('a')).toBe(true)
  })
})

describe('a backend without shared locks and jobs', () => {
  const plain = (): LocksOn => new LocksOn({}, { plainOnly: true })

  test.each<readonly [string, string, (on: LocksOn) => unknown]>([
    ['semaphore', 'semaphore', ({ locks }) => locks.semaphore('key', { permits: 1 })],
    ['readWrite', 'read-write lock', ({ locks }) => locks.readWrite('key')],
    [
      'claimFire',
      'scheduled jobs',
      ({ locks, clock }) => locks.claimFire('job', clock.wallMs(), { atMostMs: 1_000 }),
    ],
  ])('refuses %s with UNSUPPORTED, and says what it lacks', async (_, what, call) => {
    const on = plain()
    expect(await failureOf(() => call(on))).toMatchObject({
      code: 'UNSUPPORTED',
      retryable: false,
      capability: 'lock',
      backend: 'steered',
      message: `lock on steered has no ${what}: choose an adapter that has it.`,
    })
    expect(on.lock.calls).toEqual([])
  })

  test('still has many', async () => {
    expect(await plain().locks.many(['a', 'b'], (held) => held.held)).toBe(true)
  })

  test('checks arguments first', async () => {
    const { locks } = plain()
    const error = await failureOf(() => locks.semaphore('key', { permits: 0 }))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})
