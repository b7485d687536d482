import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import { callMs } from './cache-world.ts'
import { codeOf, longMs, range, without } from './caching.ts'

const timeoutMs = callMs
const skip = without('counters')

/** Numbers that many change at once. */
export const counterCases: readonly CacheCase[] = [
  {
    name: 'of 1,000 increments from four nodes none is lost, and each gets a number of its own',
    control: 'counts-one-for-two',
    skip,
    async run(world) {
      const nodes = await world.nodes(4)
      const replies = await Promise.all(
        nodes.flatMap(({ cache }) =>
          range(1, 250).map(() => cache.counter('logins', { timeoutMs }).increment()),
        ),
      )
      expect(replies.toSorted((a, b) => a - b)).toEqual(range(1, 1_000))
      const found = await Promise.all(nodes.map(({ cache }) => cache.counter('logins', { timeoutMs }).get()))
      expect(found).toEqual([1_000, 1_000, 1_000, 1_000])
    },
  },
  {
    name: 'a counter goes up and down, begins at 0, and again after a reset; names are taken as they are',
    control: 'reset-does-nothing',
    skip,
    async run(world) {
      const [one, two] = await world.twoNodes()
      const names = ['a', 'A', ' a', '{a}', 'a:{b}', 'ä\n', 'a*']
      for (const [index, name] of names.entries()) {
        expect(await two.cache.counter(name, { timeoutMs }).get()).toBe(0)
        expect(await one.cache.counter(name, { timeoutMs }).increment(10 + index)).toBe(10 + index)
      }
      const counter = two.cache.counter('a', { timeoutMs })
      expect([await counter.increment(-15), await counter.increment(0)]).toEqual([-5, -5])
      await one.cache.counter('a', { timeoutMs }).reset()
      expect([await counter.get(), await counter.increment()]).toEqual([0, 1])
      const found = await Promise.all(names.map((name) => one.cache.counter(name, { timeoutMs }).get()))
      expect(found).toEqual([1, 11, 12, 13, 14, 15, 16])
    },
  },
  {
    name: 'the time of a counter is set once, by who makes it, and is not extended by what comes after',
    control: 'counter-ttl-is-extended',
    skip,
    async run(world) {
      const [one, two] = await world.twoNodes()
      const [short, lasting] = [
        one.cache.counter('short', { timeoutMs }),
        one.cache.counter('lasting', { timeoutMs }),
      ]
      expect(await short.increment(1, { ttlMs: 300 })).toBe(1)
      expect(await lasting.increment(5)).toBe(5)
      expect(await two.cache.counter('lasting', { timeoutMs }).increment(1, { ttlMs: 50 })).toBe(6)
      await world.until('it begins again', async () => {
        return (await two.cache.counter('short', { timeoutMs }).increment(1, { ttlMs: longMs })) === 1
      })
      expect(await lasting.get()).toBe(6)
    },
  },
  {
    name: 'a counter never leaves the integers that JavaScript can tell apart',
    control: 'counters-leave-the-integers',
    skip,
    async run(world) {
      const { cache } = await world.node()
      const counter = cache.counter('high', { timeoutMs })
      expect(await counter.increment(Number.MAX_SAFE_INTEGER - 1)).toBe(Number.MAX_SAFE_INTEGER - 1)
      expect(await codeOf(counter.increment(2))).toBe('REJECTED')
      expect(await counter.get()).toBe(Number.MAX_SAFE_INTEGER - 1)
      expect(await counter.increment(1)).toBe(Number.MAX_SAFE_INTEGER)
      const low = cache.counter('low', { timeoutMs })
      await low.increment(-Number.MAX_SAFE_INTEGER)
      expect(await codeOf(low.increment(-1))).toBe('REJECTED')
      expect(await low.get()).toBe(-Number.MAX_SAFE_INTEGER)
    },
  },
]
