import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CacheBackend } from '../../src/cache/backend.ts'
import type { CacheSpace } from '../../src/cache/cache-driver.ts'
import type { Invalidation, InvalidationTarget } from '../../src/cache/unsaid.ts'
import { MultinodeError } from '../../src/index.ts'
import { capabilityContext, ManualClock } from '../../src/testing/index.ts'
import { failureOf, Later, never, turn, watch } from '../support/outcome.ts'
import { SteeredCache } from './steered-cache.ts'

const away = new MultinodeError('UNAVAILABLE', 'away', { outcome: 'not-sent' })
const notSent = { code: 'UNAVAILABLE', outcome: 'not-sent' }

let clock: ManualClock
let server: SteeredCache
let backend: CacheBackend
let space: CacheSpace
let target: InvalidationTarget
let replayed: Invalidation[]
let reported: unknown[]

beforeEach(async () => {
  clock = new ManualClock()
  server = await SteeredCache.on(clock)
  reported = []
  replayed = []
  const report = (error: unknown): void => void reported.push(error)
  backend = new CacheBackend(server.driver, capabilityContext('cache', 'steered', { clock, report }))
  space = server.driver.open({ name: 'users', version: '1' })
  target = { space, onReplayed: (what) => void replayed.push(what) }
})

afterEach(async () => {
  server.outage = undefined
  const closing = backend.close()
  await clock.advance(10_000)
  await closing
  await server.driver.close()
})

function get(timeoutMs = 250): Promise<unknown> {
  return backend.read('get', timeoutMs, (ms) => space.get('a', ms))
}

/** Makes five calls fail, which opens the breaker. */
async function open(): Promise<void> {
  server.outage = 'refused'
  for (let count = 0; count < 5; count += 1) await failureOf(get)
}

describe('a call of the driver', () => {
  test('gives the driver its deadline, and what it answers to the caller', async () => {
    const seen: number[] = []
    const answer = await backend.call('get', 250, async (timeoutMs) => {
      seen.push(timeoutMs)
      return 'answer'
    })
    expect([seen, answer]).toEqual([[250], 'answer'])
    expect(await get()).toBeUndefined()
  })

  test('ends a twentieth after its deadline if the driver forgets it, and an answer after that is nothing', async () => {
    const late = new Later<string>()
    const outcomes = [watch(backend.call('set', 200, () => late.promise)), watch(get(200))]
    server.outage = 'silent'
    outcomes.push(watch(get(200)))
    await clock.advance(209)
    expect(outcomes.map(({ state }) => state)).toEqual(['pending', 'resolved', 'pending'])
    await clock.advance(1)
    late.resolve('late')
    await turn()
    const timeout = { state: 'rejected', value: { code: 'TIMEOUT', outcome: 'unknown' } }
    expect(outcomes[0]).toMatchObject(timeout)
    expect(outcomes[2]).toMatchObject(timeout)
  })

  test('passes typed errors on, and wraps others once, also those that are thrown at once', async () => {
    const typed = new MultinodeError('REJECTED', 'no')
    expect(await failureOf(() => backend.call('set', 250, () => Promise.reject(typed)))).toBe(typed)
    const defect = new Error('defect')
    const throwing = (): Promise<never> => {
      throw defect
    }
    for (const work of [() => Promise.reject(defect), throwing]) {
      expect(await failureOf(() => backend.call('set', 250, work))).toMatchObject({
        code: 'INTERNAL',
        cause: defect,
      })
    }
  })

  test('is refused after five in a row that found no backend, without asking it', async () => {
    await open()
    expect(backend.isTrusted).toBe(false)
    expect(server.count('get')).toBe(5)
    expect(await failureOf(get)).toMatchObject({ ...notSent, cause: { message: 'steered: away' } })
    expect(await failureOf(() => backend.call('increment', 250, never))).toMatchObject(notSent)
    expect(server.count('get')).toBe(5)
    expect(backend.stats()).toMatchObject({ failures: 5, refused: 2, isOpen: true, opened: 1 })
  })

  test('is not refused after failures that were not in a row', async () => {
    for (let count = 0; count < 10; count += 1) {
      server.outage = 'refused'
      expect(await failureOf(get)).toMatchObject({ message: 'steered: away' })
      server.outage = undefined
      await get()
    }
    expect(backend.isTrusted).toBe(true)
  })

  test('is not refused because a backend that is there says no', async () => {
    server.outage = 'rejected'
    for (let count = 0; count < 20; count += 1) {
      expect(await failureOf(get)).toMatchObject({ code: 'REJECTED' })
    }
    expect(backend.isTrusted).toBe(true)
    expect(server.count('get')).toBe(20)
  })

  test('costs nothing while a backend is silent, but for the first five', async () => {
    server.outage = 'silent'
    const first = Array.from({ length: 5 }, () => watch(get()))
    await clock.advance(300)
    expect(first.map(({ state }) => state)).toEqual(Array.from({ length: 5 }, () => 'rejected'))
    for (let step = 0; step < 40; step += 1) {
      const outcome = watch(get())
      await turn()
      expect(outcome.state).toBe('rejected')
      await clock.advance(250)
    }
    expect(server.count('get')).toBe(5)
    expect(server.count('ping')).toBeGreaterThan(5)
  })

  test.each(['refused', 'silent'] as const)(
    'is made again within 3 s after a backend that was %s is back',
    async (outage) => {
      await open()
      server.outage = outage
      await clock.advance(9_900)
      server.outage = undefined
      await clock.advance(1_000)
      expect(backend.isTrusted).toBe(true)
      expect(await get()).toBeUndefined()
    },
  )
})

describe('an invalidation', () => {
  test('that the backend did is done, and nobody is told again', async () => {
    const all: Invalidation[] = [{ keys: ['a'] }, { tags: ['t'] }, { clear: true }]
    for (const what of all) expect(await backend.invalidate(target, what, 250)).toBe('done')
    expect(server.calls).toEqual(['delete', 'invalidateTags', 'clear'])
    expect([backend.isTrusted, replayed]).toEqual([true, []])
  })

  test.each(['refused', 'silent'] as const)(
    'that a backend that is %s did not hear is said again before entries are read',
    async (outage) => {
      server.outage = outage
      const outcome = watch(backend.invalidate(target, { keys: ['a', 'b'] }, 250))
      await clock.advance(300)
      expect(outcome).toEqual({ state: 'resolved', value: 'deferred' })
      expect(backend.isTrusted).toBe(false)
      expect(backend.stats().waiting).toBe(2)
      server.outage = undefined
      expect(await failureOf(get)).toMatchObject(notSent)
      expect(server.count('get')).toBe(0)
      await clock.advance(3_000)
      expect(replayed).toEqual([{ keys: ['a', 'b'] }])
      expect(backend).toMatchObject({ isTrusted: true })
      expect(backend.stats()).toMatchObject({ waiting: 0, replayed: 2 })
      expect(await get()).toBeUndefined()
    },
  )

  test('of 1,000 keys while the backend is away are said in one call when it is back', async () => {
    await open()
    const before = server.count('delete')
    for (let index = 0; index < 1_000; index += 1) {
      expect(await backend.invalidate(target, { keys: [`k${index}`] }, 250)).toBe('deferred')
    }
    expect(server.count('delete')).toBe(before)
    server.outage = undefined
    await clock.advance(2_000)
    expect(server.count('delete')).toBe(before + 1)
    expect(replayed).toEqual([{ keys: Array.from({ length: 1_000 }, (_, index) => `k${index}`) }])
  })

  test('that comes while the same one is being said again is said once more', async () => {
    const answers = [new Later<void>(), new Later<void>()]
    const deletes: (readonly string[])[] = []
    const steered: InvalidationTarget = {
      onReplayed: target.onReplayed,
      space: {
        ...space,
        delete: (keys) => {
          deletes.push(keys)
          return answers[deletes.length - 1]?.promise ?? Promise.resolve()
        },
      },
    }
    backend.keep(steered, { keys: ['a'] }, away)
    await clock.advance(100)
    backend.keep(steered, { keys: ['a'] }, away)
    answers[0]?.resolve()
    await turn()
    expect(backend.isTrusted).toBe(false)
    expect(deletes).toEqual([['a'], ['a']])
    answers[1]?.resolve()
    await turn()
    expect(backend.isTrusted).toBe(true)
  })

  test('is tried directly also while others wait', async () => {
    backend.keep(target, { keys: ['a'] }, away)
    expect(await backend.invalidate(target, { keys: ['b'] }, 250)).toBe('done')
  })

  test('that is refused for another reason is told to the caller, and not kept', async () => {
    server.outage = 'rejected'
    const failure = await failureOf(() => backend.invalidate(target, { clear: true }, 250))
    expect(failure).toMatchObject({ code: 'REJECTED' })
    expect(backend.isTrusted).toBe(true)
  })

  test('that waits and is refused then is tried on, and reported once', async () => {
    backend.keep(target, { tags: ['t'] }, away)
    server.outage = 'rejected'
    await clock.advance(10_000)
    expect(reported).toMatchObject([{ code: 'REJECTED' }])
    expect(server.count('invalidateTags')).toBeGreaterThan(5)
    expect(backend.isTrusted).toBe(false)
    server.outage = undefined
    await clock.advance(1_000)
    expect(backend.isTrusted).toBe(true)
    expect(replayed).toEqual([{ tags: ['t'] }])
  })

  test('counts as said when telling the others of it fails, which is reported', async () => {
    const failure = new Error('no signals')
    const failing: InvalidationTarget = {
      space,
      onReplayed: () => {
        throw failure
      },
    }
    backend.keep(failing, { clear: true }, away)
    await clock.advance(100)
    expect(backend.isTrusted).toBe(true)
    expect(reported).toEqual([failure])
  })
})

describe('the end', () => {
  test('waits for what was not said, and asks at once whether the backend is back', async () => {
    await open()
    await backend.invalidate(target, { keys: ['a'] }, 250)
    server.outage = undefined
    expect(await backend.drain(1_000)).toBe(0)
    expect(replayed).toEqual([{ keys: ['a'] }])
    expect(clock.monotonicMs()).toBe(0)
  })

  test('of a drain comes in time, and what is left is said later', async () => {
    await open()
    await backend.invalidate(target, { keys: ['a', 'b'] }, 250)
    const outcome = watch(backend.drain(1_000))
    await clock.advance(1_000)
    expect(outcome).toEqual({ state: 'resolved', value: 2 })
    server.outage = undefined
    await clock.advance(3_000)
    expect(backend.isTrusted).toBe(true)
  })

  test('says how many invalidations are lost, leaves no timer, and refuses what comes after', async () => {
    await open()
    await backend.invalidate(target, { keys: ['a', 'b'] }, 250)
    const outcome = watch(backend.close())
    expect(backend.close()).toBe(backend.close())
    await clock.advance(5_000)
    expect(outcome.state).toBe('resolved')
    expect(reported).toMatchObject([{ code: 'LOST', details: { left: 2 } }])
    await clock.advance(1_000)
    expect(clock.pendingTimers).toBe(0)
    const calls = [
      get,
      () => backend.call('set', 250, never),
      () => backend.invalidate(target, { clear: true }, 250),
    ]
    for (const call of calls) expect(await failureOf(call)).toMatchObject({ code: 'CLOSED' })
  })

  test('is at once when nothing waits', async () => {
    await backend.close()
    expect([clock.monotonicMs(), reported, server.calls]).toEqual([0, [], []])
  })
})
