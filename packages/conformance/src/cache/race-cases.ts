import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import { far, later, nearPair, type NearSpace, range } from './caching.ts'

const races = 50

/** Numbers that are the same in every run. */
function seeded(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await nextTurn()
}

/** Something old must never outlive what made it old. */
export const raceCases: readonly CacheCase[] = [
  {
    name: 'what is deleted while values are made anew is never stored as it was before, in 50 races',
    control: 'fills-for-anybody',
    async run(world) {
      const [one, two] = await world.pair<number>(far)
      // What is stored must not depend on who is told in time.
      world.signals.bus?.delay(2_000)
      const random = seeded(1)
      const source = new Map<string, number>()
      const race = async (key: string): Promise<void> => {
        const [before, during, after] = [random(4), random(6), random(6)]
        source.set(key, 1)
        const made = later(
          one.getOrSet(key, async () => {
            await turns(before)
            const value = source.get(key) ?? 0
            await turns(during)
            return value
          }),
        )
        await turns(after)
        source.set(key, 2)
        await two.delete(key)
        await made
      }
      const keys = range(1, races).map((index) => `key ${index}`)
      for (const key of keys) await race(key)
      const found = [...(await one.getMany(keys)), ...(await two.getMany(keys))]
      expect(found.filter((value) => value === 1)).toEqual([])
      const made = await Promise.all(keys.map((key) => one.getOrSet(key, () => 2)))
      expect(made).toEqual(keys.map(() => 2))
    },
  },
  {
    name: 'what is deleted or set while another node reads it is not kept there as it was before, in 50 races',
    control: 'signals-are-lost',
    async run(world) {
      const [one, two] = await nearPair(world)
      const random = seeded(2)
      const keys = range(1, races).map((index) => `key ${index}`)
      await one.space.setMany(keys.map((key) => ({ key, value: 'old' })))
      await Promise.all(
        keys.map(async (key, index) => {
          const [before, after] = [random(3), random(3)]
          const read = later(turns(before).then(() => two.space.get(key)))
          await turns(after)
          await (index % 2 === 0 ? one.space.delete(key) : one.space.set(key, 'new'))
          await read
        }),
      )
      const expected = keys.map((_, index) => (index % 2 === 0 ? undefined : 'new'))
      const isRight = async (): Promise<boolean> => {
        const found = await two.space.getMany(keys)
        return found.every((value, index) => value === expected[index])
      }
      await world.until('the other node has what is stored', isRight)
      expect(await one.space.getMany(keys)).toEqual(expected)
    },
  },
  {
    name: 'after two nodes set 200 keys at once both have what is stored',
    control: 'signals-are-lost',
    async run(world) {
      const [one, two] = await nearPair(world)
      const keys = range(1, 200).map((index) => `key ${index}`)
      const setAll = ({ space }: NearSpace, value: string): Promise<unknown>[] =>
        keys.map((key) => space.set(key, value))
      await Promise.all([...setAll(one, 'of one'), ...setAll(two, 'of two')])
      const judge = await world.node()
      const stored = await judge.cache.namespace<string>('things', far).getMany(keys)
      expect(stored.every((value) => value === 'of one' || value === 'of two')).toBe(true)
      const areEqual = async ({ space }: NearSpace): Promise<boolean> => {
        const found = await space.getMany(keys)
        return found.every((value, index) => value === stored[index])
      }
      for (const each of [one, two]) await world.until('it has what is stored', () => areEqual(each))
    },
  },
]
