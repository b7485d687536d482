import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import { callMs } from './cache-world.ts'
import { entry, far, longMs, nearPair, range, refusal } from './caching.ts'

const shortMs = 200

/** How long values are fresh, stale, and kept. */
export const timeCases: readonly CacheCase[] = [
  {
    name: 'an entry is fresh for as long as it was said, never shorter',
    control: 'ttl-is-too-short',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      // So long that one that is gone much too soon is seen to be, though the machine stands still for a moment.
      const ttlMs = 2_000
      const startMs = performance.now()
      await one.set('key', 'value', { ttlMs })
      let goneMs = 0
      await world.until('it is gone', async () => {
        const found = await two.get('key')
        // Not from when it was asked: the answer may be late.
        goneMs = performance.now() - startMs
        return found === undefined
      })
      expect(goneMs).toBeGreaterThanOrEqual(ttlMs - 20)
    },
  },
  {
    name: 'an entry is gone after its time, whatever way it was stored',
    control: 'ttl-is-ignored',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      await one.set('one', 'value', { ttlMs: shortMs })
      await one.setMany([{ key: 'many', value: 'value', ttlMs: shortMs }])
      await one.getOrSet('made', () => 'value', { ttlMs: shortMs })
      await one.getOrSet('said', (context) => {
        context.setOptions({ ttlMs: shortMs })
        return 'value'
      })
      const keys = ['one', 'many', 'made', 'said']
      await world.until('all are gone', async () => {
        const found = await two.getMany(keys)
        return found.every((value) => value === undefined)
      })
      expect(await Promise.all(keys.map((key) => two.has(key)))).toEqual(keys.map(() => false))
    },
  },
  {
    name: 'of entries that are stored together each has a time of its own',
    control: 'first-ttl-is-for-all',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      await one.setMany([
        { key: 'short', value: 'value', ttlMs: 50 },
        { key: 'long', value: 'value' },
      ])
      await world.until('the short one is gone', async () => (await two.get('short')) === undefined)
      expect(await two.get('long')).toBe('value')
    },
  },
  {
    name: 'what is stored again lasts from then on',
    control: 'first-ttl-stays',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      await one.set('key', 'first', { ttlMs: shortMs })
      await one.set('other', 'value', { ttlMs: shortMs })
      await two.set('key', 'second')
      await world.until('the other is gone', async () => (await two.get('other')) === undefined)
      expect(await one.get('key')).toBe('second')
    },
  },
  {
    name: 'how long an entry is fresh and kept is told as it is',
    control: 'kept-is-as-fresh',
    async run(world) {
      const [one, two] = await world.spaces()
      const startMs = performance.now()
      await one.set([entry('key', 'value', { ttlMs: 20_000, graceMs: 30_000 })], callMs)
      const found = await two.get('key', callMs)
      const leastMs = 20_000 - (performance.now() - startMs) - 20
      expect(found?.freshMs).toBeGreaterThan(leastMs)
      expect(found?.freshMs).toBeLessThanOrEqual(20_020)
      expect(found?.keptMs).toBeGreaterThan(leastMs + 30_000)
      expect(found?.keptMs).toBeLessThanOrEqual(50_020)
    },
  },
  {
    name: 'a stale entry is kept for its grace, told as stale, and never returned as a fresh one',
    control: 'stale-is-fresh',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      const [, below] = await world.spaces()
      await one.set('key', 'value', { ttlMs: 50, graceMs: longMs })
      await below.set([entry('low', 'value', { ttlMs: 50, graceMs: longMs, tags: ['a', 'b'] })], callMs)
      await world.until('it is stale', async () => (await two.get('key')) === undefined)
      expect(await two.has('key')).toBe(false)
      expect(await two.getMany(['key'])).toEqual([undefined])
      await world.until('it is stale there', async () => (await one.get('key')) === undefined)
      await world.until('the low one is stale', async () => {
        const found = await below.get('low', callMs)
        expect(found?.data.toString()).toBe('value')
        return (found?.freshMs ?? 1) <= 0
      })
      const stale = await below.get('low', callMs)
      expect(stale?.keptMs).toBeGreaterThan(0)
      expect(stale?.tags.toSorted()).toEqual(['a', 'b'])
    },
  },
  {
    name: 'after its grace an entry is gone for good: a factory that fails then has nothing to fall back on',
    control: 'grace-never-ends',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      await one.set('key', 'value', { ttlMs: 50, graceMs: 100 })
      const failure = new Error('the source is away')
      const fail = (): Promise<string> => Promise.reject(failure)
      await world.until('it fails', async () => (await refusal(two.getOrSet('key', fail))) === failure)
    },
  },
  {
    name: 'without grace nothing stale is served',
    control: 'grace-never-ends',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      await one.set('key', 'value', { ttlMs: 50 })
      await world.until('it is gone', async () => (await two.get('key')) === undefined)
      const failure = new Error('the source is away')
      expect(await refusal(two.getOrSet('key', () => Promise.reject(failure)))).toBe(failure)
    },
  },
  {
    name: 'jitter spreads how long entries are fresh, within its bounds',
    control: 'ttls-are-rounded',
    async run(world) {
      const ttlMs = 100_000
      const [one] = await world.pair<number>({ ...far, ttlMs, jitter: 0.1 })
      const [below] = await world.spaces()
      const startMs = performance.now()
      const keys = range(1, 200).map((index) => `key ${index}`)
      await one.setMany(keys.map((key, value) => ({ key, value })))
      const found = await below.getMany(keys, callMs)
      const passedMs = performance.now() - startMs
      const freshMs = found.map((each) => each?.freshMs ?? 0)
      expect(Math.min(...freshMs)).toBeGreaterThanOrEqual(0.9 * ttlMs - passedMs - 20)
      expect(Math.max(...freshMs)).toBeLessThanOrEqual(1.1 * ttlMs + 20)
      expect(Math.max(...freshMs) - Math.min(...freshMs)).toBeGreaterThan(0.05 * ttlMs)
    },
  },
  {
    name: 'what a node keeps for itself lasts no longer than the entry does',
    control: 'fresh-is-told-too-long',
    async run(world) {
      const [one, two] = await nearPair(world)
      await one.space.set('key', 'value', { ttlMs: shortMs })
      await world.until('it is gone', async () => (await two.space.get('key')) === undefined)
      // What two nodes take for the time of the backend may differ, so it is not gone for both at one moment.
      const before = one.node.cache.stats().localHits
      await world.until('it is gone there', async () => (await one.space.get('key')) === undefined)
      // Backends that count whole milliseconds end an entry by one too soon.
      expect(one.node.cache.stats().localHits - before).toBeLessThanOrEqual(1)
    },
  },
]
