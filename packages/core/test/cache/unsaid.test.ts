import { afterAll, describe, expect, test } from 'vitest'
import { memoryCache } from '../../src/cache/memory-cache.ts'
import { type Invalidation, type InvalidationTarget, Unsaid } from '../../src/cache/unsaid.ts'
import { pluginContext } from '../../src/testing/index.ts'

const driver = await memoryCache.create(pluginContext())
afterAll(() => driver.close())

function target(name: string): InvalidationTarget {
  return { space: driver.open({ name, version: '1' }), onReplayed: () => {} }
}

function numbered(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, index) => `k${from + index}`)
}

function takeAll(unsaid: Unsaid): Invalidation[] {
  const taken: Invalidation[] = []
  for (let next = unsaid.take(); next !== undefined; next = unsaid.take()) taken.push(next.what)
  return taken
}

describe('the invalidations that wait', () => {
  test('are given out by namespace, in the order in which they came, each once', () => {
    const unsaid = new Unsaid()
    const [one, two] = [target('one'), target('two')]
    unsaid.add(one, { keys: ['a', 'b'] })
    unsaid.add(two, { keys: ['a'] })
    unsaid.add(one, { keys: ['b', 'c'] })
    expect(unsaid.size).toBe(4)
    expect(unsaid.take()).toMatchObject({ target: one, what: { keys: ['a', 'b', 'c'] } })
    expect(unsaid.take()).toMatchObject({ target: two, what: { keys: ['a'] } })
    expect(unsaid.take()).toBeUndefined()
    expect(unsaid.size).toBe(0)
  })

  test('keep tags and keys apart', () => {
    const unsaid = new Unsaid()
    const one = target('one')
    unsaid.add(one, { keys: ['same'] })
    unsaid.add(one, { tags: ['same'] })
    expect(unsaid.size).toBe(2)
    expect(takeAll(unsaid)).toEqual([{ tags: ['same'] }, { keys: ['same'] }])
  })

  test('are only a clear where there is one', () => {
    const unsaid = new Unsaid()
    const one = target('one')
    unsaid.add(one, { keys: ['a'] })
    unsaid.add(one, { tags: ['t'] })
    unsaid.add(one, { clear: true })
    unsaid.add(one, { keys: ['b'] })
    expect(unsaid.size).toBe(1)
    expect(takeAll(unsaid)).toEqual([{ clear: true }])
    expect(unsaid.size).toBe(0)
    unsaid.add(one, { keys: ['b'] })
    expect(takeAll(unsaid)).toEqual([{ keys: ['b'] }])
  })

  test('lose keys that were dropped: not those that came or came again later, and not those that stay', () => {
    const unsaid = new Unsaid()
    const one = target('one')
    unsaid.add(one, { keys: ['a', 'b', 'c'] }, true)
    unsaid.add(one, { keys: ['stays', 'c'] })
    unsaid.add(one, { tags: ['a'] }, true)
    const { moment } = unsaid
    unsaid.add(one, { keys: ['b', 'later'] }, true)
    unsaid.drop(one, ['a', 'b', 'c', 'stays', 'later', 'unknown'], moment)
    unsaid.drop(target('another'), ['b'], Infinity)
    expect(unsaid.size).toBe(5)
    expect(takeAll(unsaid)).toEqual([{ tags: ['a'] }, { keys: ['b', 'c', 'stays', 'later'] }])
  })

  test('wait as long as before when they are given back', () => {
    const unsaid = new Unsaid()
    const one = target('one')
    unsaid.add(one, { keys: ['a'] }, true)
    unsaid.add(one, { keys: ['stays'] })
    const { moment } = unsaid
    const taken = unsaid.take()
    if (taken !== undefined) unsaid.giveBack(taken)
    expect(unsaid.size).toBe(2)
    unsaid.drop(one, ['a', 'stays'], moment)
    expect(takeAll(unsaid)).toEqual([{ keys: ['stays'] }])
    expect(unsaid.size).toBe(0)
  })

  test('go in batches of 1,000', () => {
    const unsaid = new Unsaid()
    unsaid.add(target('one'), { keys: numbered(2_500) })
    const taken = takeAll(unsaid)
    expect(taken.map((what) => ('keys' in what ? what.keys.length : 0))).toEqual([1_000, 1_000, 500])
    expect(taken.flatMap((what) => ('keys' in what ? what.keys : []))).toEqual(numbered(2_500))
  })

  test('of more than 10,000 those of the namespace that has one more become its clear', () => {
    const unsaid = new Unsaid()
    const [one, two] = [target('one'), target('two')]
    unsaid.add(one, { keys: numbered(5_000) })
    unsaid.add(two, { tags: numbered(5_000) })
    expect(unsaid.size).toBe(10_000)
    unsaid.add(two, { keys: ['one more'] })
    expect(unsaid.size).toBe(5_001)
    unsaid.add(one, { keys: numbered(4_999, 5_000) })
    expect(unsaid.size).toBe(10_000)
    const taken = takeAll(unsaid)
    expect(taken.at(-1)).toEqual({ clear: true })
    expect(taken.length).toBe(11)
  })

  test('of long keys fewer are kept', () => {
    const unsaid = new Unsaid()
    const one = target('one')
    const long = numbered(500).map((key) => key.padEnd(10_000))
    unsaid.add(one, { keys: long.slice(0, 400) })
    expect(unsaid.size).toBe(400)
    unsaid.add(one, { keys: long })
    expect(takeAll(unsaid)).toEqual([{ clear: true }])
  })
})
