import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { CacheBackend } from '../../src/cache/backend.ts'
import { BloomFilter, type BloomFilterOptions, readBloomFilterOptions } from '../../src/cache/bloom-filter.ts'
import { capabilityContext, ManualClock } from '../../src/testing/index.ts'
import { failureOf, watch } from '../support/outcome.ts'
import { SteeredCache } from './steered-cache.ts'

const size = { capacity: 2_000, errorRate: 0.01 }

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

function filterWith(options: Partial<BloomFilterOptions> = {}, name = 'mails'): BloomFilter {
  return new BloomFilter(name, readBloomFilterOptions({ ...size, ...options }), backend)
}

function numbered(first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, index) => `user ${first + index}@ä.example`)
}

describe('a Bloom filter', () => {
  test('has all that was added, and says yes in error about as often as was asked for', async () => {
    const filter = filterWith()
    await filter.add(numbered(1, 2_000))
    expect((await filter.mayHaveMany(numbered(1, 2_000))).every(Boolean)).toBe(true)
    const wrong = (await filter.mayHaveMany(numbered(10_001, 20_000))).filter(Boolean).length
    expect(wrong).toBeGreaterThan(20)
    expect(wrong).toBeLessThan(150)
    // A thousand items a call.
    expect([server.count('add'), server.count('mayHave')]).toEqual([2, 12])
  })

  test('takes one item, none, and all kinds of text', async () => {
    const filter = filterWith()
    await filter.add([])
    expect(await filter.mayHaveMany([])).toEqual([])
    expect(server.calls).toEqual([])
    const items = ['', 'a'.repeat(65_536), 'ä {b}\n']
    await filter.add('one')
    await filter.add(items)
    expect(await filter.mayHaveMany(['one', ...items, 'two'])).toEqual([true, true, true, true, false])
  })

  test('that is not there has all, nothing, or is an error: as the app chose', async () => {
    expect(await filterWith().mayHave('a')).toBe(true)
    expect(await filterWith({ missing: false }).mayHaveMany(['a', 'b'])).toEqual([false, false])
    expect(await failureOf(() => filterWith({ missing: 'throw' }).mayHave('a'))).toMatchObject({
      code: 'NOT_FOUND',
    })
    await filterWith().add('a')
    expect(await filterWith({ missing: 'throw' }).mayHaveMany(['a', 'b'])).toEqual([true, false])
    await filterWith().remove()
    expect(await filterWith({ missing: false }).mayHave('a')).toBe(false)
  })

  test.each([{ capacity: 4_000 }, { errorRate: 0.001 }])('is not added to as one with %o', async (other) => {
    await filterWith().add('a')
    expect(await failureOf(() => filterWith(other).add('b'))).toMatchObject({ code: 'REJECTED' })
    expect(await filterWith().mayHaveMany(['a', 'b'])).toEqual([true, false])
    await filterWith(other, 'another').add('b')
  })

  test('that was added to in part says so, and where nothing was sent, that', async () => {
    const notSent = { code: 'UNAVAILABLE', outcome: 'not-sent' }
    server.outage = 'refused'
    expect(await failureOf(() => filterWith().add(numbered(1, 2_000)))).toMatchObject(notSent)
    server.outage = undefined
    const { bloomFilters } = server.driver
    if (bloomFilters === undefined) throw new Error('none')
    vi.spyOn(bloomFilters, 'add').mockImplementationOnce(async () => {
      server.outage = 'refused'
    })
    const failure = await failureOf(() => filterWith().add(numbered(1, 2_000)))
    expect(failure).toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown', cause: notSent })
  })

  test('never guesses while the backend is away', async () => {
    const filter = filterWith()
    server.outage = 'silent'
    const outcomes = Array.from({ length: 5 }, () => watch(filter.mayHave('a')))
    await clock.advance(250 * 1.05)
    for (const outcome of outcomes) expect(outcome.value).toMatchObject({ code: 'TIMEOUT' })
    for (const call of [() => filter.mayHave('a'), () => filter.add('a'), () => filter.remove()]) {
      expect(await failureOf(call)).toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent' })
    }
    expect(server.count('mayHave')).toBe(5)
  })

  test.each([
    ['no capacity', { capacity: 0 }],
    ['an error rate above one half', { errorRate: 0.6 }],
    ['no error rate', { errorRate: 0 }],
    ['more than half a gibibyte', { capacity: 1_000_000_000, errorRate: 0.01 }],
    ['no time', { timeoutMs: 0 }],
  ])('refuses %s', async (_, options) => {
    expect(await failureOf(() => filterWith(options))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('leaves room for what a server keeps with the bits', async () => {
    const bitsOfItem = -Math.log(0.01) / Math.LN2 ** 2
    const capacity = (bytes: number): number => Math.floor((bytes * 8) / bitsOfItem)
    const most = 512 * 1_048_576 - 64
    expect(filterWith({ capacity: capacity(most) }).settings.errorRate).toBe(0.01)
    const failure = await failureOf(() => filterWith({ capacity: capacity(most + 4) }))
    expect(failure).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name: 'capacity' } })
  })

  test.each([
    ['an item that is too long', 'a'.repeat(65_537)],
    ['half a character', '\ud800'],
  ])('refuses %s, and then adds none of those beside it', async (_, item) => {
    expect(await failureOf(() => filterWith().add(['a', item]))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(server.calls).toEqual([])
  })

  test('says when the backend has none', async () => {
    const { bloomFilters: _, ...without } = server.driver
    const lacking = new CacheBackend(without, backend.context)
    const filter = new BloomFilter('mails', readBloomFilterOptions(size), lacking)
    expect(await failureOf(() => filter.mayHave('a'))).toMatchObject({ code: 'UNSUPPORTED' })
    await lacking.close()
  })
})
