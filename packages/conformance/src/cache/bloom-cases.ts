import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import { callMs } from './cache-world.ts'
import { codeOf, range, without } from './caching.ts'

const skip = without('bloomFilters')
const size = { capacity: 2_000, errorRate: 0.01, timeoutMs: callMs }

function mails(first: number, last: number): string[] {
  return range(first, last).map((index) => `user ${index}@ä.example`)
}

/** Sets that may say yes in error, and never no. */
export const bloomCases: readonly CacheCase[] = [
  {
    name: 'what four nodes added at once all nodes may have, one at a time and all at once',
    control: 'forgets-every-hundredth',
    skip,
    async run(world) {
      const nodes = await world.nodes(4)
      await Promise.all(
        nodes.map(({ cache }, index) =>
          cache.bloomFilter('mails', size).add(mails(index * 500, index * 500 + 499)),
        ),
      )
      for (const { cache } of nodes) {
        const may = await cache.bloomFilter('mails', size).mayHaveMany(mails(0, 1_999))
        expect(may.filter((each) => !each).length).toBe(0)
        expect(may.length).toBe(2_000)
        expect(await cache.bloomFilter('mails', size).mayHave('user 1999@ä.example')).toBe(true)
      }
    },
  },
  {
    name: 'a filter that is full says yes in error about as often as was asked for, and answers in order',
    control: 'says-yes-too-often',
    skip,
    async run(world) {
      const [one, two] = await world.twoNodes()
      await one.cache.bloomFilter('mails', size).add(mails(1, 2_000))
      const filter = two.cache.bloomFilter('mails', size)
      const others = await filter.mayHaveMany(mails(10_001, 20_000))
      // Of 10,000 that are none, 100 are to be expected, and more than 150 by chance never.
      expect(others.filter(Boolean).length).toBeLessThan(150)
      const mixed = range(1, 40).map((index) => (index % 2 === 0 ? index : index + 20_000))
      const may = await filter.mayHaveMany(mixed.map((index) => `user ${index}@ä.example`))
      const wrong = may.filter((each, index) => each !== (index % 2 === 1))
      expect(wrong.length).toBeLessThan(5)
    },
  },
  {
    name: 'of a filter that is not there the answer is what the app chose: yes, no, or an error',
    control: 'is-never-missing',
    skip,
    async run(world) {
      const { cache } = await world.node()
      expect(await cache.bloomFilter('default', size).mayHave('item')).toBe(true)
      const yes = cache.bloomFilter('yes', { ...size, missing: true })
      expect(await yes.mayHaveMany(['one', 'two'])).toEqual([true, true])
      const no = cache.bloomFilter('no', { ...size, missing: false })
      expect(await no.mayHaveMany(['one', 'two'])).toEqual([false, false])
      expect(await codeOf(cache.bloomFilter('error', { ...size, missing: 'throw' }).mayHave('item'))).toBe(
        'NOT_FOUND',
      )
      await yes.add(['one'])
      expect(await yes.mayHaveMany(['one', 'two'])).toEqual([true, false])
    },
  },
  {
    name: 'a filter that another node made otherwise is refused, and stays as it is',
    control: 'takes-any-filter',
    skip,
    async run(world) {
      const [one, two] = await world.twoNodes()
      await one.cache.bloomFilter('mails', size).add(['one'])
      for (const other of [
        { ...size, capacity: 4_000 },
        { ...size, errorRate: 0.001 },
      ]) {
        const node = await world.node()
        expect(await codeOf(node.cache.bloomFilter('mails', other).add(['two']))).toBe('REJECTED')
      }
      expect(await two.cache.bloomFilter('mails', size).mayHaveMany(['one', 'two'])).toEqual([true, false])
    },
  },
  {
    name: 'a filter that is removed is missing, and is made anew by what is added then',
    control: 'filters-stay',
    skip,
    async run(world) {
      const [one, two] = await world.twoNodes()
      const filter = one.cache.bloomFilter('{a} filter', { ...size, missing: false })
      await filter.add(['one', 'ä {b}', ''.padEnd(5_000, 'long ')])
      expect(await filter.mayHaveMany(['one', 'ä {b}', ''.padEnd(5_000, 'long ')])).toEqual([
        true,
        true,
        true,
      ])
      const same = two.cache.bloomFilter('{a} filter', { ...size, missing: false })
      await same.remove()
      expect(await filter.mayHave('one')).toBe(false)
      await filter.add(['two'])
      expect(await same.mayHaveMany(['one', 'two'])).toEqual([false, true])
    },
  },
]
