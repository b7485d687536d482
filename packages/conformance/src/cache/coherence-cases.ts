import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import type { CacheWorld } from './cache-world.ts'
import { near, range } from './caching.ts'

function withoutBus({ harness }: CacheWorld): string | undefined {
  return harness.pubsub === undefined ? undefined : 'the signals of the harness have no faults'
}

/** What nodes keep for themselves follows what others do. */
export const coherenceCases: readonly CacheCase[] = [
  {
    name: 'what one node sets or deletes is so on another that kept the old value',
    control: 'signals-are-lost',
    async run(world) {
      const [one, two] = await world.pair<string>(near)
      await one.setMany(['set', 'gone', 'stays'].map((key) => ({ key, value: 'old' })))
      expect(await two.getMany(['set', 'gone', 'stays'])).toEqual(['old', 'old', 'old'])
      await one.set('set', 'new')
      await one.delete('gone')
      expect([await one.get('set'), await one.get('gone')]).toEqual(['new', undefined])
      await world.until('it is set there', async () => (await two.get('set')) === 'new')
      await world.until('it is gone there', async () => (await two.get('gone')) === undefined)
      expect(await two.get('stays')).toBe('old')
      expect(await two.getOrSet('set', () => 'made')).toBe('new')
    },
  },
  {
    name: 'what one node invalidates by a tag, or clears, is invalid on another that kept it',
    control: 'signals-are-lost',
    async run(world) {
      const [one, two] = await world.pair<string>(near)
      await one.setMany([
        { key: 'tagged', value: 'old', tags: ['a', 'b'] },
        { key: 'plain', value: 'old' },
      ])
      expect(await two.getMany(['tagged', 'plain'])).toEqual(['old', 'old'])
      await one.invalidateTags(['b'])
      expect(await one.getMany(['tagged', 'plain'])).toEqual([undefined, 'old'])
      await world.until('it is gone there', async () => (await two.get('tagged')) === undefined)
      expect(await two.get('plain')).toBe('old')
      await one.clear()
      expect(await one.get('plain')).toBe(undefined)
      await world.until('it is gone there', async () => (await two.get('plain')) === undefined)
    },
  },
  {
    name: 'so many keys that no signal could name them are followed too',
    control: 'signals-are-lost',
    async run(world) {
      const [one, two] = await world.pair<string>(near)
      const keys = range(1, 1_000).map((index) => `${'long '.repeat(20)}${index}`)
      const setAll = (value: string) => one.setMany(keys.map((key) => ({ key, value })))
      const isAll = (value: string | undefined) => async (): Promise<boolean> => {
        const found = await two.getMany(keys)
        return found.every((each) => each === value)
      }
      await setAll('old')
      await world.until('it keeps the old ones', isAll('old'))
      await setAll('new')
      await world.until('it has the new ones', isAll('new'))
      await one.delete(keys)
      await world.until('it has none', isAll(undefined))
    },
  },
  {
    name: 'what a factory made anew replaces the old value on a node that kept it',
    control: 'signals-are-lost',
    async run(world) {
      const [one, two] = await world.pair<string>(near)
      await one.getOrSet('key', () => 'old', { tags: ['tag'] })
      expect(await two.getOrSet('key', () => 'other')).toBe('old')
      await one.delete('key')
      await one.getOrSet('key', () => 'new')
      await world.until('it is so there', async () => (await two.get('key')) === 'new')
    },
  },
  {
    name: 'a node that missed signals trusts nothing of what it kept',
    control: 'gaps-are-not-told',
    skip: withoutBus,
    async run(world) {
      const [one, two] = await world.twoNodes()
      const here = one.cache.namespace<string>('things', near)
      const there = two.cache.namespace<string>('things', near)
      const keys = range(1, 20).map((index) => `key ${index}`)
      await here.setMany(keys.map((key) => ({ key, value: 'old' })))
      await there.getMany(keys)
      // Not before they are lost.
      world.signals.bus?.delay(500)
      await here.setMany(keys.map((key) => ({ key, value: 'new' })))
      world.signals.bus?.drop(two.nodeId)
      const isNew = async (): Promise<boolean> => {
        const found = await there.getMany(keys)
        return found.every((value) => value === 'new')
      }
      await world.until('it has the new ones', isNew)
    },
  },
]
