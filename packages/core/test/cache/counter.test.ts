import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CacheBackend } from '../../src/cache/backend.ts'
import { Counter } from '../../src/cache/counter.ts'
import { capabilityContext, ManualClock } from '../../src/testing/index.ts'
import { failureOf, watch } from '../support/outcome.ts'
import { SteeredCache } from './steered-cache.ts'

let clock: ManualClock
let server: SteeredCache
let backend: CacheBackend

beforeEach(async () => {
  clock = new ManualClock()
  server = await SteeredCache.on(clock)
  backend = new CacheBackend(server.driver, capabilityContext('cache', 'steered', { clock }))
})

afterEach(async () => {
  await backend.close()
  await server.driver.close()
})

describe('a counter', () => {
  test('goes up and down from 0, by 1 unless said otherwise, and begins again after a reset', async () => {
    const counter = new Counter('n', {}, backend)
    expect(await counter.get()).toBe(0)
    expect([await counter.increment(), await counter.increment(10), await counter.increment(-20)]).toEqual([
      1, 11, -9,
    ])
    expect(await new Counter('n', {}, backend).get()).toBe(-9)
    await counter.reset()
    expect([await counter.get(), await counter.increment()]).toEqual([0, 1])
  })

  test('lasts for the ttl of the increment that made it', async () => {
    const counter = new Counter('n', {}, backend)
    await counter.increment(1, { ttlMs: 1_000 })
    await clock.advance(600)
    expect(await counter.increment(1, { ttlMs: 1_000 })).toBe(2)
    await clock.advance(400)
    expect([await counter.get(), await counter.increment(5)]).toEqual([0, 5])
    await clock.advance(40 * 86_400_000)
    expect(await counter.increment(0, { ttlMs: 1 })).toBe(5)
  })

  test('does not leave the safe integers', async () => {
    const counter = new Counter('n', {}, backend)
    expect(await counter.increment(Number.MAX_SAFE_INTEGER)).toBe(Number.MAX_SAFE_INTEGER)
    expect(await failureOf(() => counter.increment())).toMatchObject({ code: 'REJECTED' })
    expect(await counter.get()).toBe(Number.MAX_SAFE_INTEGER)
  })

  test('never guesses: it fails while the backend is away, at once when that is known, and until it is back', async () => {
    const counter = new Counter('n', {}, backend)
    server.outage = 'silent'
    const outcomes = Array.from({ length: 5 }, () => watch(counter.increment()))
    await clock.advance(250 * 1.05)
    for (const outcome of outcomes)
      expect(outcome.value).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
    for (const call of [() => counter.increment(), () => counter.get(), () => counter.reset()]) {
      expect(await failureOf(call)).toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent' })
    }
    expect(server.count('increment')).toBe(5)
    server.outage = undefined
    await clock.advance(3_000)
    expect(await counter.increment()).toBe(1)
  })

  test('takes as long as it was given', async () => {
    server.outage = 'silent'
    const outcome = watch(new Counter('n', { timeoutMs: 1_000 }, backend).get())
    await clock.advance(1_049)
    expect(outcome.state).toBe('pending')
    await clock.advance(1)
    expect(outcome.state).toBe('rejected')
  })

  test.each([
    ['a part', () => new Counter('n', {}, backend).increment(0.5)],
    ['a number above the safe ones', () => new Counter('n', {}, backend).increment(2 ** 53)],
    ['no ttl', () => new Counter('n', {}, backend).increment(1, { ttlMs: 0 })],
    ['no name', () => new Counter('', {}, backend)],
    ['no time', () => new Counter('n', { timeoutMs: 0 }, backend)],
  ])('refuses %s', async (_, work) => {
    expect(await failureOf(work)).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(server.calls).toEqual([])
  })

  test('says when the backend has none', async () => {
    const { counters: _, ...without } = server.driver
    const lacking = new CacheBackend(without, backend.context)
    expect(await failureOf(() => new Counter('n', {}, lacking).get())).toMatchObject({ code: 'UNSUPPORTED' })
    await lacking.close()
  })
})
