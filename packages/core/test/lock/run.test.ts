import { describe, expect, test } from 'vitest'
import { type Lease, MultinodeError } from '../../src/index.ts'
import { failureOf, Later, never, watch } from '../support/outcome.ts'
import { LocksOn } from '../support/locks-on.ts'

const gone = new MultinodeError('UNAVAILABLE', 'gone', { outcome: 'unknown' })
const refused = new MultinodeError('REJECTED', 'refused')

/** What a routine gets, and an end of it that the test chooses. */
class Routine<T> {
  readonly result = new Later<T>()
  lease: Lease | undefined
  readonly body = (lease: Lease): Promise<T> => {
    this.lease = lease
    return this.result.promise
  }
}

describe('run', () => {
  test.each<readonly [string, () => unknown]>([
    ['a value', () => 'value'],
    ['a promise', async () => 'value'],
  ])('resolves with what the routine returned: %s', async (_, routine) => {
    const { locks, lock, clock, isFree } = bound(new LocksOn())
    expect(await locks.run('key', routine)).toBe('value')
    expect(lock.verbs()).toEqual(['acquire', 'release'])
    expect(isFree('key')).toBe(true)
    expect(clock.pendingTimers).toBe(0)
  })

  test.each<readonly [string, (error: Error) => unknown]>([
    [
      'throws',
      (error) => {
        throw error
      },
    ],
    ['rejects', (error) => Promise.reject(error)],
  ])('rejects with the very error of a routine that %s, and releases', async (_, fail) => {
    const { locks, isFree } = bound(new LocksOn())
    const own = new Error('of the routine')
    expect(await failureOf(() => locks.run('key', () => fail(own)))).toBe(own)
    expect(isFree('key')).toBe(true)
  })

  test('does not run the routine when the lock is not granted', async () => {
    const { on, locks, clock } = bound(new LocksOn())
    on.occupy('key')
    let runs = 0
    const running = watch(locks.run('key', () => (runs += 1), { waitMs: 100 }))
    await clock.advance(200)
    expect(running.value).toMatchObject({ code: 'TIMEOUT' })
    expect(runs).toBe(0)
  })

  test('keeps the value when the release fails, and reports the failure', async () => {
    const { on, locks } = bound(new LocksOn({ release: () => Promise.reject(refused) }))
    expect(await locks.run('key', () => 'value')).toBe('value')
    expect(on.reported).toEqual([refused])
  })

  test("keeps the routine's error when the release fails too", async () => {
    const { on, locks } = bound(new LocksOn({ release: () => Promise.reject(refused) }))
    const own = new Error('of the routine')
    expect(await failureOf(() => locks.run('key', () => Promise.reject(own)))).toBe(own)
    expect(on.reported).toEqual([refused])
  })

  test.each(['expired', 'not-owner'] as const)('keeps the value when the release says %s', async (reply) => {
    const { on, locks } = bound(new LocksOn({ release: async () => reply }))
    expect(await locks.run('key', () => 'value')).toBe('value')
    expect(on.reported).toEqual([])
  })

  test('repeats a release that met a short outage', async () => {
    const { on, locks, lock, clock } = bound(new LocksOn({ release: () => Promise.reject(gone) }))
    const running = watch(locks.run('key', () => 'value'))
    await clock.advance(200)
    expect([running.state, on.reported]).toEqual(['pending', []])
    delete lock.answers.release
    await clock.advance(100)
    expect(running.value).toBe('value')
    expect([on.reported, lock.store.release('key', 'nobody')]).toEqual([[], 'expired'])
    expect(clock.pendingTimers).toBe(0)
  })

  test('reports a release that no repetition could bring to the server in time', async () => {
    const { on, locks, clock } = bound(new LocksOn({ release: () => Promise.reject(gone) }))
    const running = watch(locks.run('key', () => 'value'))
    await clock.advance(5_000)
    expect([running.value, on.reported]).toEqual(['value', [gone]])
    expect(clock.pendingTimers).toBe(0)
  })

  test('settles though the release is never answered', async () => {
    const { on, locks, clock } = bound(new LocksOn({ release: never }))
    const running = watch(locks.run('key', () => 'value'))
    await clock.advance(5_250)
    expect(running).toEqual({ state: 'resolved', value: 'value' })
    expect(on.reported).toMatchObject([{ code: 'TIMEOUT', outcome: 'unknown' }])
    expect(clock.pendingTimers).toBe(0)
  })

  test('works with a routine that releases the lease itself', async () => {
    const { locks, lock, clock } = bound(new LocksOn())
    expect(await locks.run('key', async (lease) => lease.release())).toBe('released')
    expect(lock.verbs()).toEqual(['acquire', 'release'])
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('run, when the lease is lost', () => {
  const lost = { code: 'LOST', details: { key: 'key' } }

  test('aborts the signal, waits for the routine to end, and rejects with LOST', async () => {
    const { locks, clock } = bound(new LocksOn({ extend: async () => 'expired' }))
    const routine = new Routine<string>()
    const running = watch(locks.run('key', routine.body, { ttlMs: 900 }))
    await clock.advance(300)
    expect(routine.lease?.signal).toMatchObject({ aborted: true, reason: lost })
    expect(running.state).toBe('pending')
    routine.result.resolve('too late')
    await clock.advance(0)
    expect(running.value).toMatchObject(lost)
    expect(clock.pendingTimers).toBe(0)
  })

  test('LOST tells why the last renewal failed', async () => {
    const { locks, clock } = bound(new LocksOn({ extend: () => Promise.reject(refused) }))
    const routine = new Routine<string>()
    const running = watch(locks.run('key', routine.body, { ttlMs: 900 }))
    await clock.advance(900)
    routine.result.resolve('too late')
    await clock.advance(0)
    expect(running.value).toMatchObject({ ...lost, cause: refused })
  })

  test('a renewal that was refused for good is not repeated', async () => {
    const { locks, lock, clock } = bound(new LocksOn({ extend: () => Promise.reject(refused) }))
    const routine = new Routine<string>()
    void watch(locks.run('key', routine.body, { ttlMs: 900 }))
    await clock.advance(800)
    expect(lock.times('extend')).toEqual([300])
    routine.result.resolve('done')
    await clock.advance(0)
  })

  test('what the routine extended the lease for is kept by the renewals', async () => {
    const { locks, clock } = bound(new LocksOn())
    const routine = new Routine<string>()
    const running = watch(locks.run('key', routine.body, { ttlMs: 600 }))
    await clock.advance(0)
    await routine.lease?.extend(60_000)
    await clock.advance(1_000)
    expect(routine.lease?.remainingMs()).toBeGreaterThan(50_000)
    routine.result.resolve('done')
    await clock.advance(0)
    expect(running.value).toBe('done')
  })

  test('a blocked event loop is noticed although no timer could fire', async () => {
    const { locks, clock } = bound(new LocksOn())
    const running = locks.run('key', () => clock.freeze(1_000), { ttlMs: 1_000 })
    await expect(running).rejects.toMatchObject(lost)
  })

  test('a routine that had finished before keeps its value', async () => {
    const { on, locks, clock } = bound(new LocksOn())
    const releasing = new Later<'expired'>()
    on.lock.answers.release = () => releasing.promise
    const running = watch(locks.run('key', () => 'in time', { ttlMs: 1_000 }))
    await clock.advance(2_000)
    releasing.resolve('expired')
    await clock.advance(0)
    expect(running).toEqual({ state: 'resolved', value: 'in time' })
  })

  test.each<readonly [string, (signal: AbortSignal) => Error]>([
    ['an AbortError of a library that was given the signal', () => new DOMException('aborted', 'AbortError')],
    ['an AbortError of Node', () => Object.assign(new Error('aborted'), { name: 'AbortError' })],
    ["the signal's own reason", ({ reason }) => (reason instanceof Error ? reason : new Error('no reason'))],
  ])('%s becomes LOST', async (_, echo) => {
    const { locks, clock } = bound(new LocksOn({ extend: async () => 'not-owner' }))
    const routine = ({ signal }: Lease): Promise<never> =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(echo(signal)))
      })
    const running = watch(locks.run('key', routine, { ttlMs: 900 }))
    await clock.advance(300)
    expect(running.value).toMatchObject(lost)
  })

  test('any other error of the routine is kept', async () => {
    const { locks, clock } = bound(new LocksOn({ extend: async () => 'expired' }))
    const routine = new Routine<never>()
    const running = watch(locks.run('key', routine.body, { ttlMs: 900 }))
    await clock.advance(300)
    const own = new Error('of the routine')
    routine.result.reject(own)
    await clock.advance(0)
    expect(running.value).toBe(own)
  })

  test('an AbortError without a loss is kept', async () => {
    const { locks } = bound(new LocksOn())
    const own = new DOMException('of something else', 'AbortError')
    expect(await failureOf(() => locks.run('key', () => Promise.reject(own)))).toBe(own)
  })
})

describe('run, and renewal', () => {
  test('extends every third of the ttl for as long as the routine runs, and never after', async () => {
    const { locks, lock, clock } = bound(new LocksOn())
    const routine = new Routine<string>()
    const running = watch(locks.run('key', routine.body, { ttlMs: 900 }))
    await clock.advance(3_000)
    expect(lock.times('extend')).toEqual([300, 600, 900, 1_200, 1_500, 1_800, 2_100, 2_400, 2_700, 3_000])
    expect(routine.lease?.held).toBe(true)
    routine.result.resolve('done')
    await clock.advance(10_000)
    expect(running.value).toBe('done')
    expect(lock.times('extend')).toHaveLength(10)
    expect(clock.pendingTimers).toBe(0)
  })

  test('repeats a failed attempt every 50 to 100 ms, and goes on as before when one succeeds', async () => {
    const { on, locks, lock, clock } = bound(new LocksOn({ extend: () => Promise.reject(gone) }))
    const routine = new Routine<string>()
    void locks.run('key', routine.body, { ttlMs: 900 })
    await clock.advance(600)
    const attempts = lock.times('extend')
    const pauses = attempts.slice(1).map((atMs, index) => atMs - (attempts[index] ?? 0))
    expect(attempts[0]).toBe(300)
    expect(pauses.length).toBeGreaterThanOrEqual(3)
    for (const pause of pauses) expect(pause >= 50 && pause <= 100).toBe(true)
    delete on.lock.answers.extend
    await clock.advance(100)
    const repairedAtMs = lock.times('extend').at(-1) ?? 0
    await clock.advance(300)
    expect(lock.times('extend').at(-1)).toBe(repairedAtMs + 300)
    expect(routine.lease?.held).toBe(true)
    routine.result.resolve('done')
    await clock.advance(0)
    expect(clock.pendingTimers).toBe(0)
  })

  test('gives up at the deadline: the loss is announced on time, and no attempt starts after it', async () => {
    const { locks, lock, clock } = bound(new LocksOn({ extend: () => Promise.reject(gone) }))
    const routine = new Routine<string>()
    const running = watch(locks.run('key', routine.body, { ttlMs: 900 }))
    await clock.advance(888)
    expect(routine.lease?.signal.aborted).toBe(false)
    await clock.advance(1)
    expect(routine.lease?.signal.aborted).toBe(true)
    const attempts = lock.times('extend').length
    await clock.advance(10_000)
    expect(lock.times('extend')).toHaveLength(attempts)
    routine.result.resolve('too late')
    await clock.advance(0)
    expect(running.value).toMatchObject({ code: 'LOST' })
    expect(clock.pendingTimers).toBe(0)
  })

  test('one lost answer does not cost the lease: an attempt may take a sixth of the ttl, and never two at once', async () => {
    const { on, locks, lock, clock } = bound(new LocksOn({ extend: never }))
    const routine = new Routine<string>()
    void locks.run('key', routine.body, { ttlMs: 6_000 })
    await clock.advance(2_000 + 1_049)
    expect(lock.times('extend')).toEqual([2_000])
    expect(lock.calls.find(({ verb }) => verb === 'extend')?.timeoutMs).toBe(1_000)
    delete on.lock.answers.extend
    await clock.advance(200)
    expect(lock.times('extend')).toHaveLength(2)
    await clock.advance(5_000)
    expect(routine.lease?.held).toBe(true)
    routine.result.resolve('done')
    await clock.advance(0)
    expect(clock.pendingTimers).toBe(0)
  })

  test('an attempt never takes longer than the deadline of calls', async () => {
    const { locks, lock, clock } = bound(new LocksOn({}, { callTimeoutMs: 700 }))
    const routine = new Routine<string>()
    void locks.run('key', routine.body, { ttlMs: 60_000 })
    await clock.advance(20_000)
    expect(lock.calls.at(-1)).toMatchObject({ verb: 'extend', timeoutMs: 700 })
    routine.result.resolve('done')
    await clock.advance(0)
  })

  test('stops when the routine releases the lease itself', async () => {
    const { locks, lock, clock } = bound(new LocksOn())
    const routine = new Routine<string>()
    void locks.run('key', routine.body, { ttlMs: 900 })
    await clock.advance(0)
    await routine.lease?.release()
    await clock.advance(5_000)
    expect(lock.verbs()).toEqual(['acquire', 'release'])
    routine.result.resolve('done')
    await clock.advance(0)
    expect(clock.pendingTimers).toBe(0)
  })
})

/** The parts of a set-up, for a line of a test. */
function bound(on: LocksOn): {
  on: LocksOn
  locks: LocksOn['locks']
  lock: LocksOn['lock']
  clock: LocksOn['clock']
  isFree: (key: string) => boolean
} {
  return { on, locks: on.locks, lock: on.lock, clock: on.clock, isFree: (key) => on.isFree(key) }
}
