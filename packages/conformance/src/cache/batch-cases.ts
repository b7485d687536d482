import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import { far, range } from './caching.ts'

/** Many at once. */
export const batchCases: readonly CacheCase[] = [
  {
    name: 'getMany answers in order, also for what is missing or asked for twice',
    control: 'replies-are-out-of-order',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      await one.setMany(['a', 'b', 'c'].map((key) => ({ key, value: key.toUpperCase() })))
      const keys = ['c', 'missing', 'a', 'c', 'missing', 'b']
      expect(await two.getMany(keys)).toEqual(['C', undefined, 'A', 'C', undefined, 'B'])
      expect(await two.getMany([])).toEqual([])
    },
  },
  {
    name: 'a thousand entries are stored, read and deleted at once',
    control: 'batch-loses-its-last',
    async run(world) {
      const [one, two] = await world.pair<number>(far)
      const keys = range(1, 1_000).map((index) => `key ${index}`)
      expect(await one.setMany(keys.map((key, value) => ({ key, value })))).toBe('done')
      expect(await two.getMany(keys)).toEqual(keys.map((_, value) => value))
      expect(await two.delete(keys.slice(0, 999))).toBe('done')
      const left = (await one.getMany(keys)).map((value, index) => (value === undefined ? 'gone' : index))
      expect(left).toEqual(keys.map((_, index) => (index < 999 ? 'gone' : 999)))
    },
  },
  {
    name: 'delete of many deletes just these, and what is missing is no error',
    control: 'deletes-only-the-first',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      await one.setMany(['a', 'b', 'c', 'd'].map((key) => ({ key, value: key })))
      expect(await two.delete(['missing', 'b', 'd', 'b'])).toBe('done')
      expect(await one.getMany(['a', 'b', 'c', 'd'])).toEqual(['a', undefined, 'c', undefined])
      expect(await two.delete('missing')).toBe('done')
      expect(await two.delete([])).toBe('done')
      expect(await one.setMany([])).toBe('done')
    },
  },
  {
    name: 'has is true for what is there, whatever its value, and for nothing else',
    control: 'finds-what-is-not-there',
    async run(world) {
      const [one, two] = await world.pair(far)
      const values = [null, '', 0, false]
      for (const [index, value] of values.entries()) await one.set(`key ${index}`, value)
      for (const index of values.keys()) expect(await two.has(`key ${index}`)).toBe(true)
      expect(await two.has('missing')).toBe(false)
      await one.delete('key 0')
      expect(await two.has('key 0')).toBe(false)
    },
  },
]
