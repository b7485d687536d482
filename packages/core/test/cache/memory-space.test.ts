import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { CacheDriver, CacheSpace, NewEntry } from '../../src/cache/cache-driver.ts'
import { memoryCache } from '../../src/cache/memory-cache.ts'
import { ManualClock, pluginContext } from '../../src/testing/index.ts'
import { failureOf } from '../support/outcome.ts'

const timeoutMs = 5_000

function entryOf(key: string, text: string, more: Partial<NewEntry> = {}): NewEntry {
  return { key, data: Buffer.from(text), ttlMs: 1_000, graceMs: 0, tags: [], ...more }
}

describe('a namespace on memory', () => {
  let clock: ManualClock
  let driver: CacheDriver
  let space: CacheSpace

  beforeEach(async () => {
    clock = new ManualClock()
    driver = await memoryCache.create(pluginContext({ clock }))
    space = driver.open({ name: 'users', version: '1' })
  })

  afterEach(() => driver.close())

  async function textOf(key: string): Promise<string | undefined> {
    return (await space.get(key, timeoutMs))?.data.toString()
  }

  async function granted(key: string, owner: string, tags: readonly string[] = []): Promise<unknown> {
    const reply = await space.claim({ key, owner, leaseMs: 1_000, tags }, timeoutMs)
    if (reply.status === 'granted') return reply.snapshot
    throw new Error(`${owner} was not granted ${key}: ${reply.status}`)
  }

  test('gives back what was set until its ttl, then as a stale one until the end of its grace', async () => {
    await space.set([entryOf('a', 'one', { graceMs: 500, tags: ['t'] })], timeoutMs)
    expect(await space.get('a', timeoutMs)).toEqual({
      data: Buffer.from('one'),
      freshMs: 1_000,
      keptMs: 1_500,
      tags: ['t'],
    })
    await clock.advance(1_200)
    expect(await space.get('a', timeoutMs)).toMatchObject({ freshMs: -200, keptMs: 300 })
    await clock.advance(300)
    expect(await space.get('a', timeoutMs)).toBeUndefined()
  })

  test('copies values in and out', async () => {
    const entry = entryOf('a', 'one')
    await space.set([entry], timeoutMs)
    entry.data.fill(0)
    const first = await space.get('a', timeoutMs)
    expect(first?.data.toString()).toBe('one')
    first?.data.fill(0)
    expect(await textOf('a')).toBe('one')
  })

  test('answers getMany in order, one for each key', async () => {
    await space.set([entryOf('a', 'A'), entryOf('b', 'B')], timeoutMs)
    const found = await space.getMany(['b', 'x', 'a', 'b'], timeoutMs)
    expect(found.map((entry) => entry?.data.toString())).toEqual(['B', undefined, 'A', 'B'])
  })

  test('lets one owner make a value, and the others wait', async () => {
    const snapshot = await granted('a', 'o1')
    expect(await space.claim({ key: 'a', owner: 'o2', leaseMs: 1_000, tags: [] }, timeoutMs)).toEqual({
      status: 'busy',
      stale: undefined,
    })
    expect(await space.fill(entryOf('a', 'one'), 'o2', snapshot, timeoutMs)).toBe('refused')
    expect(await space.fill(entryOf('a', 'one'), 'o1', snapshot, timeoutMs)).toBe('stored')
    const reply = await space.claim({ key: 'a', owner: 'o2', leaseMs: 1_000, tags: [] }, timeoutMs)
    expect(reply).toMatchObject({ status: 'fresh', entry: { data: Buffer.from('one') } })
    expect(await space.fill(entryOf('a', 'two'), 'o1', snapshot, timeoutMs)).toBe('refused')
  })

  test('shows who claims, and who finds it claimed, the stale value', async () => {
    await space.set([entryOf('a', 'old', { graceMs: 9_000 })], timeoutMs)
    await clock.advance(1_000)
    const claim = { key: 'a', leaseMs: 1_000, tags: [] }
    const stale = { data: Buffer.from('old') }
    expect(await space.claim({ ...claim, owner: 'o1' }, timeoutMs)).toMatchObject({
      status: 'granted',
      stale,
    })
    expect(await space.claim({ ...claim, owner: 'o2' }, timeoutMs)).toMatchObject({ status: 'busy', stale })
  })

  test('ends a lease after its time, unless its owner renews it', async () => {
    const snapshot = await granted('a', 'o1')
    await clock.advance(900)
    expect(await space.renew('a', 'o1', 1_000, timeoutMs)).toBe(true)
    expect(await space.renew('a', 'o2', 1_000, timeoutMs)).toBe(false)
    await clock.advance(999)
    expect(await space.renew('a', 'o1', 1, timeoutMs)).toBe(true)
    await clock.advance(1)
    expect(await space.renew('a', 'o1', 1_000, timeoutMs)).toBe(false)
    expect(await space.fill(entryOf('a', 'late'), 'o1', snapshot, timeoutMs)).toBe('refused')
    await granted('a', 'o2')
  })

  test('lets only the owner release', async () => {
    await granted('a', 'o1')
    await space.release('a', 'o2', timeoutMs)
    expect(await space.renew('a', 'o1', 1_000, timeoutMs)).toBe(true)
    await space.release('a', 'o1', timeoutMs)
    await granted('a', 'o2')
  })

  test.each([
    ['a delete', () => space.delete(['a', 'x'], timeoutMs), undefined],
    ['a set', () => space.set([entryOf('a', 'newer')], timeoutMs), 'newer'],
  ])('refuses what was made while %s came', async (_, invalidate, left) => {
    const snapshot = await granted('a', 'o1')
    await invalidate()
    expect(await space.fill(entryOf('a', 'old'), 'o1', snapshot, timeoutMs)).toBe('refused')
    expect(await textOf('a')).toBe(left)
  })

  test.each([
    ['its tag was invalidated', () => space.invalidateTags(['t', 'u'], timeoutMs)],
    ['the namespace was cleared', () => space.clear(timeoutMs)],
  ])('never shows what was there, or made, when %s', async (_, invalidate) => {
    const snapshot = await granted('a', 'o1', ['t'])
    await space.set([entryOf('b', 'there', { tags: ['s', 't'] })], timeoutMs)
    await invalidate()
    await space.fill(entryOf('a', 'made', { tags: ['t'] }), 'o1', snapshot, timeoutMs)
    expect(await space.getMany(['a', 'b'], timeoutMs)).toEqual([undefined, undefined])
    await space.set([entryOf('a', 'after', { tags: ['t'] })], timeoutMs)
    expect(await textOf('a')).toBe('after')
  })

  test('shows what was made when nothing was invalidated, or another tag', async () => {
    const snapshot = await granted('a', 'o1', ['t'])
    await space.invalidateTags(['u'], timeoutMs)
    await space.fill(entryOf('a', 'made', { tags: ['t'] }), 'o1', snapshot, timeoutMs)
    expect(await textOf('a')).toBe('made')
  })

  test('takes a clear or tags of another namespace, or of another version, for none of its own', async () => {
    const others = [
      driver.open({ name: 'users', version: '2' }),
      driver.open({ name: 'other', version: '1' }),
    ]
    await space.set([entryOf('a', 'one', { tags: ['t'] })], timeoutMs)
    for (const other of others) {
      expect(await other.get('a', timeoutMs)).toBeUndefined()
      await other.delete(['a'], timeoutMs)
      await other.invalidateTags(['t'], timeoutMs)
      await other.clear(timeoutMs)
    }
    expect(await textOf('a')).toBe('one')
  })

  test('does not go by a wall clock that is set back', async () => {
    await space.set([entryOf('a', 'one', { tags: ['t'] })], timeoutMs)
    clock.jumpWallClock(-3_600_000)
    await space.invalidateTags(['t'], timeoutMs)
    expect(await space.get('a', timeoutMs)).toBeUndefined()
    await space.set([entryOf('b', 'two')], timeoutMs)
    await space.clear(timeoutMs)
    expect(await space.get('b', timeoutMs)).toBeUndefined()
  })

  test('takes no value above its limit, and then none of those beside it', async () => {
    const large = entryOf('b', '', { data: Buffer.alloc(driver.features.maxBytes + 1) })
    const failure = await failureOf(() => space.set([entryOf('a', 'one'), large], timeoutMs))
    expect(failure).toMatchObject({ code: 'TOO_LARGE', outcome: 'not-sent' })
    expect(await space.get('a', timeoutMs)).toBeUndefined()
  })

  test('takes no tags that the claim did not name: nobody knows what they were then', async () => {
    const snapshot = await granted('a', 'o1', ['t'])
    const fill = (): Promise<unknown> =>
      space.fill(entryOf('a', 'one', { tags: ['u'] }), 'o1', snapshot, timeoutMs)
    expect(await failureOf(fill)).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('grants the next ones also after thousands of leases that nobody gave back', async () => {
    for (let index = 0; index < 2_500; index += 1) {
      await granted(`k${index}`, 'o1')
      clock.freeze(1)
    }
    expect(await space.renew('k0', 'o1', 1_000, timeoutMs)).toBe(false)
    await granted('k0', 'o2')
    expect(await space.renew('k2499', 'o1', 1_000, timeoutMs)).toBe(true)
  })
})
