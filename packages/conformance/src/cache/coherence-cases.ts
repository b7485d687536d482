import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import type { CacheWorld } from './cache-world.ts'
import { nearPair, range, untilKept } from './caching.ts'

function withoutBus({ harness }: CacheWorld): string | undefined {
  return harness.pubsub === undefined ? undefined : 'the signals of the harness have no faults'
}

/** What nodes keep for themselves follows what others do. */
export const coherenceCases: readonly CacheCase[] = [
  {
    name: 'what one node sets or deletes is so on another that kept the old value',
    control: 'signals-are-lost',
    async run(world) {
      const [one, two] = await nearPair(world)
      await one.space.setMany(['set', 'gone', 'stays'].map((key) => ({ key, value: 'old' })))
      await untilKept(world, two, ['set', 'gone', 'stays'])
      await one.space.set('set', 'new')
      await one.space.delete('gone')
      expect([await one.space.get('set'), await one.space.get('gone')]).toEqual(['new', undefined])
      await world.until('it is set there', async () => (await two.space.get('set')) === 'new')
      await world.until('it is gone there', async () => (await two.space.get('gone')) === undefined)
      expect(await two.space.get('stays')).toBe('old')
      expect(await two.space.getOrSet('set', () => 'made')).toBe('new')
    },
  },
  {
    name: 'what one node invalidates by a tag, or clears, is invalid on another that kept it',
    control: 'signals-are-lost',
    async run(world) {
      const [one, two] = await nearPair(world)
      await one.space.setMany([
        { key: 'tagged', value: 'old', tags: ['a', 'b'] },
        { key: 'plain', value: 'old' },
      ])
      await untilKept(world, two, ['tagged', 'plain'])
      await one.space.invalidateTags(['b'])
      expect(await one.space.getMany(['tagged', 'plain'])).toEqual([undefined, 'old'])
      await world.until('it is gone there', async () => (await two.space.get('tagged')) === undefined)
      expect(await two.space.get('plain')).toBe('old')
      await one.space.clear()
      expect(await one.space.get('plain')).toBe(undefined)
      await world.until('it is gone there', async () => (await two.space.get('plain')) === undefined)
    },
  },
  {
    name: 'so many keys that no signal could name them are followed too',
    control: 'signals-are-lost',
    async run(world) {
      const [one, two] = await nearPair(world)
      const keys = range(1, 1_000).map((index) => `${'long '.repeat(20)}${index}`)
      const setAll = (value: string) => one.space.setMany(keys.map((key) => ({ key, value })))
      const isAll = (value: string | undefined) => async (): Promise<boolean> => {
        const found = await two.space.getMany(keys)
        return found.every((each) => each === value)
      }
      await setAll('old')
      await untilKept(world, two, keys)
      await setAll('new')
      await world.until('it has the new ones', isAll('new'))
      await one.space.delete(keys)
      await world.until('it has none', isAll(undefined))
    },
  },
  {
    name: 'what a factory made anew replaces the old value on a node that kept it',
    control: 'signals-are-lost',
    async run(world) {
      const [one, two] = await nearPair(world)
      await one.space.getOrSet('key', () => 'old', { tags: ['tag'] })
      expect(await two.space.getOrSet('key', () => 'other')).toBe('old')
      await untilKept(world, two, ['key'])
      await one.space.delete('key')
      await one.space.getOrSet('key', () => 'new')
      await world.until('it is so there', async () => (await two.space.get('key')) === 'new')
    },
  },
  {
    name: 'a node that missed signals trusts nothing of what it kept',
    control: 'gaps-are-not-told',
    skip: withoutBus,
    async run(world) {
      const [one, two] = await nearPair(world)
      const keys = range(1, 20).map((index) => `key ${index}`)
      await one.space.setMany(keys.map((key) => ({ key, value: 'old' })))
      await untilKept(world, two, keys)
      // Not before they are lost.
      world.signals.bus?.delay(5_000)
      await one.space.setMany(keys.map((key) => ({ key, value: 'new' })))
      world.signals.bus?.drop(two.node.nodeId)
      const isNew = async (): Promise<boolean> => {
        const found = await two.space.getMany(keys)
        return found.every((value) => value === 'new')
      }
      await world.until('it has the new ones', isNew)
    },
  },
]
