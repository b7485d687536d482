import { describe, expect, test } from 'vitest'
import { type HeldLocks, MultinodeError } from '../../src/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, Later, watch } from '../support/outcome.ts'
import { LocksOn } from '../support/locks-on.ts'

const refused = new MultinodeError('REJECTED', 'refused')

/** A routine that ends when the test says so, and what it was given. */
class Routine {
  readonly end = new Later<string>()
  locks: HeldLocks | undefined
  readonly body = (locks: HeldLocks): Promise<string> => {
    this.locks = locks
    return this.end.promise
  }
}

function freeOnes(on: LocksOn, ...keys: readonly string[]): string[] {
  return keys.filter((key) => on.isFree(key))
}

describe('many', () => {
  test('takes each key once, in the order of the keys, and gives all back', async () => {
    const on = new LocksOn()
    const asked: string[] = []
    on.lock.answers.acquire = async (request) => {
      asked.push(request.key)
      return on.lock.store.acquire(request)
    }
    const held = await on.locks.many(['b', 'c', 'a', 'b'], (locks) => [...locks.leases.keys()])
    expect([asked, held]).toEqual([
      ['a', 'b', 'c'],
      ['a', 'b', 'c'],
    ])
    expect(on.lock.times('release')).toHaveLength(3)
    expect(freeOnes(on, 'a', 'b', 'c')).toEqual(['a', 'b', 'c'])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('holds all while the routine runs, against run and against many', async () => {
    const on = new LocksOn()
    const routine = new Routine()
    const running = watch(on.locks.many(['a', 'b'], routine.body))
    await on.clock.advance(0)
    const other = on.node()
    const [one, both] = [watch(other.run('b', () => 1)), watch(other.many(['b', 'c'], () => 2))]
    await on.clock.advance(1)
    expect([one.state, both.state, freeOnes(on, 'a', 'b')]).toEqual(['pending', 'pending', []])
    routine.end.resolve('value')
    await on.clock.advance(0)
    expect([running.value, one.value, both.value]).toEqual(['value', 1, 2])
  })

  test('two callers that name the keys in opposite order never wait for each other in a circle', async () => {
    const on = new LocksOn()
    const callers = [on.locks, on.node()].map((locks, index) => async () => {
      for (let round = 0; round < 20; round += 1) {
        await locks.many(index === 0 ? ['a', 'b'] : ['b', 'a'], () => new Promise(setImmediate))
      }
    })
    await Promise.all(callers.map((each) => each()))
    expect(on.locks.stats()).toMatchObject({ acquired: 40, refused: 0 })
  })

  test('gives back what it took when a later one is not granted, and does not run the routine', async () => {
    const on = new LocksOn()
    on.occupy('c')
    let runs = 0
    const many = watch(on.locks.many(['a', 'b', 'c'], () => (runs += 1), { waitMs: 1_000 }))
    await on.clock.advance(1_000)
    expect(many.value).toMatchObject({ code: 'TIMEOUT', details: { key: 'c' } })
    expect([runs, freeOnes(on, 'a', 'b')]).toEqual([0, ['a', 'b']])
    expect(on.locks.stats()).toMatchObject({ held: 0, waiting: 0, released: 2 })
    on.vacate('c')
    expect(freeOnes(on, 'c')).toEqual(['c'])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('gives back what it took when it is aborted, and when the backend refuses', async () => {
    const on = new LocksOn()
    on.occupy('b')
    const abort = new AbortController()
    const many = watch(on.locks.many(['a', 'b'], () => {}, { signal: abort.signal }))
    await on.clock.advance(1)
    abort.abort()
    await on.clock.advance(0)
    expect(many.value).toMatchObject({ code: 'ABORTED', details: { key: 'b' } })
    expect(freeOnes(on, 'a')).toEqual(['a'])

    on.lock.answers.acquire = async (request) => {
      if (request.key === 'b') throw refused
      return on.lock.store.acquire(request)
    }
    expect(await failureOf(() => on.locks.many(['a', 'b'], () => {}))).toBe(refused)
    expect(freeOnes(on, 'a')).toEqual(['a'])
  })

  test('waitMs is for all together: what the first ones used, the last ones have not', async () => {
    const on = new LocksOn()
    on.occupy('a')
    on.occupy('b')
    const many = watch(on.locks.many(['a', 'b'], () => {}, { waitMs: 1_000 }))
    await on.clock.advance(600)
    on.vacate('a')
    await on.clock.advance(399)
    expect(many.state).toBe('pending')
    await on.clock.advance(1)
    expect(many.value).toMatchObject({ code: 'TIMEOUT', details: { key: 'b' } })
    expect(freeOnes(on, 'a')).toEqual(['a'])
  })

  test('with waitMs 0 each is asked for once', async () => {
    const on = new LocksOn()
    expect(await on.locks.many(['a', 'b'], () => 'value', { waitMs: 0 })).toBe('value')
    on.occupy('b')
    expect(await failureOf(() => on.locks.many(['a', 'b'], () => {}, { waitMs: 0 }))).toMatchObject({
      code: 'TIMEOUT',
    })
    expect(on.lock.times('acquire')).toHaveLength(4)
  })

  test('the first ones are renewed while the last ones are waited for', async () => {
    const on = new LocksOn()
    on.occupy('b')
    const routine = new Routine()
    const many = watch(on.locks.many(['a', 'b'], routine.body, { ttlMs: 900, waitMs: 60_000 }))
    await on.clock.advance(5_000)
    expect(freeOnes(on, 'a')).toEqual([])
    on.vacate('b')
    await on.clock.advance(3_000)
    expect(routine.locks?.held).toBe(true)
    routine.end.resolve('value')
    await on.clock.advance(0)
    expect(many.value).toBe('value')
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('does not begin the routine when a first one was lost while a last one was waited for', async () => {
    const on = new LocksOn({ extend: async () => 'expired' })
    on.occupy('b')
    let runs = 0
    const many = watch(on.locks.many(['a', 'b'], () => (runs += 1), { ttlMs: 900, waitMs: 60_000 }))
    await on.clock.advance(2_000)
    on.vacate('b')
    await on.clock.advance(0)
    expect(many.value).toMatchObject({ code: 'LOST', details: { key: 'a' } })
    expect([runs, freeOnes(on, 'b')]).toEqual([0, ['b']])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('is lost as soon as one of them is: signal, held, and LOST when the routine has ended', async () => {
    const on = new LocksOn()
    on.lock.answers.extend = async (key, owner, ttlMs) =>
      key === 'b' ? 'not-owner' : on.lock.store.extend(key, owner, ttlMs)
    const routine = new Routine()
    const many = watch(on.locks.many(['a', 'b'], routine.body, { ttlMs: 900 }))
    await on.clock.advance(299)
    expect(routine.locks).toMatchObject({ held: true, signal: { aborted: false } })
    await on.clock.advance(1)
    expect(routine.locks).toMatchObject({
      held: false,
      signal: { aborted: true, reason: { code: 'LOST', details: { key: 'b' } } },
    })
    expect(routine.locks?.remainingMs()).toBe(0)
    expect(() => routine.locks?.assertHeld()).toThrow(expect.objectContaining({ code: 'LOST' }))
    expect(many.state).toBe('pending')
    routine.end.resolve('too late')
    await on.clock.advance(0)
    expect(many.value).toMatchObject({ code: 'LOST', details: { key: 'b' } })
    expect(freeOnes(on, 'a')).toEqual(['a'])
  })

  test("keeps the routine's own error, and reports what cannot be given back", async () => {
    const on = new LocksOn({ release: () => Promise.reject(refused) })
    const own = new Error('of the routine')
    expect(await failureOf(() => on.locks.many(['a', 'b'], () => Promise.reject(own)))).toBe(own)
    expect(on.reported).toEqual([refused, refused])
  })

  test('an AbortError that only echoes the signal becomes LOST', async () => {
    const on = new LocksOn({ extend: async () => 'expired' })
    const routine = ({ signal }: HeldLocks): Promise<never> =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')))
      })
    const many = watch(on.locks.many(['a', 'b'], routine, { ttlMs: 900 }))
    await on.clock.advance(300)
    expect(many.value).toMatchObject({ code: 'LOST' })
  })

  test.each<readonly [string, readonly unknown[], string]>([
    ['no keys', [[], () => {}], 'keys is empty; name at least one.'],
    ['a key that is empty', [['a', ''], () => {}], 'keys is ""'],
    ['keys that are no array', ['ab', () => {}], 'keys is "ab"'],
    ['no routine', [['a'], undefined], 'routine is undefined'],
    ['a misspelt option', [['a'], () => {}, { wait: 1 }], 'many has no option "wait"'],
    ['a wrong waitMs', [['a'], () => {}, { waitMs: -1 }], 'waitMs is -1'],
    ['a wrong ttlMs', [['a'], () => {}, { ttlMs: 9 }], 'ttlMs is 9'],
    ['a wrong signal', [['a'], () => {}, { signal: {} }], 'signal is of type Object'],
  ])('refuses %s before anything is sent', async (_, args, message) => {
    const on = new LocksOn()
    const error = await failureOf(() => callUntyped(on.locks, 'many', args))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(message) })
    expect(on.lock.calls).toEqual([])
  })
})

describe('the locks that a routine of many holds', () => {
  test('have a token for each key, and none for others', async () => {
    const on = new LocksOn()
    await on.locks.many(['a', 'b'], (locks) => {
      const tokens = [locks.token('a'), locks.token('b')]
      expect(tokens).toEqual([...locks.leases.values()].map((lease) => lease.token))
      expect(new Set(tokens).size).toBe(2)
      expect(() => locks.token('c')).toThrow(
        expect.objectContaining({
          code: 'INVALID_ARGUMENT',
          message: 'The key "c" is not among those that are held: a, b.',
        }),
      )
    })
  })

  test('have the time that the first of them has left', async () => {
    const on = new LocksOn()
    await on.locks.many(
      ['a', 'b'],
      async (locks) => {
        await locks.leases.get('a')?.extend(60_000)
        on.clock.freeze(10_000)
        expect(locks.remainingMs()).toBe(19_698)
        expect(locks.held).toBe(true)
        locks.assertHeld()
      },
      { ttlMs: 30_000 },
    )
  })

  test('one that was released by the routine is not held, and is no loss', async () => {
    const on = new LocksOn()
    const result = await on.locks.many(['a', 'b'], async (locks) => {
      await locks.leases.get('a')?.release()
      expect([locks.held, locks.signal.aborted]).toEqual([false, false])
      expect(() => locks.assertHeld()).toThrow(expect.objectContaining({ code: 'LOST' }))
      return 'value'
    })
    expect(result).toBe('value')
  })
})
