import { describe, expect, test } from 'vitest'
import { type CacheNamespace, MultinodeError } from '../../src/index.ts'
import { Later, turn, watch } from '../support/outcome.ts'
import { CacheOn } from './cache-on.ts'

type Act = (prices: CacheNamespace) => Promise<unknown>

/** Each makes the value of `poster`, which has the tag `wall`, invalid. */
const invalidations: [string, Act][] = [
  ['delete', (prices) => prices.delete('poster')],
  ['delete of several', (prices) => prices.delete(['shirt', 'poster'])],
  ['a tag', (prices) => prices.invalidateTags(['wall'])],
  ['clear', (prices) => prices.clear()],
]
const away = (): MultinodeError => new MultinodeError('UNAVAILABLE', 'away', { outcome: 'not-sent' })
const tagged = { tags: ['wall'] }

describe.each(invalidations)('%s while the factory runs', (_, invalidate) => {
  test('on this node: who asked before gets the value, it is stored nowhere, and who asks after gets a new one', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    const later = new Later<string>()
    const before = watch(prices.getOrSet('poster', () => later.promise, tagged))
    await turn()
    expect(await invalidate(prices)).toBe('done')
    const after = watch(prices.getOrSet('poster', () => 'new', tagged))
    await node.clock.advance(100)
    expect(after.value).toBe('new')
    later.resolve('old')
    await turn()
    expect(before.value).toBe('old')
    expect(await prices.get('poster')).toBe('new')
    expect(node.cache.stats()).toMatchObject({ factoryRuns: 2, refusedFills: 1 })
  })

  test('on another node: the value is stored nowhere, and who asks after gets a new one', async () => {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open(), await two.open()]
    const later = new Later<string>()
    const before = watch(mine.getOrSet('poster', () => later.promise, tagged))
    await turn()
    await invalidate(theirs)
    await world.clock.advance(0)
    const after = watch(mine.getOrSet('poster', () => 'new', tagged))
    await world.clock.advance(100)
    later.resolve('old')
    await turn()
    expect([before.value, after.value]).toEqual(['old', 'new'])
    expect(await mine.get('poster')).toBe('new')
    expect(await theirs.get('poster')).toBe('new')
  })

  test('on another node, without signals: the backend refuses it, or it is invalid', async () => {
    const world = new CacheOn({ withSignals: false })
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open({ l1: { ttlMs: 60_000 } }), await two.open()]
    const later = new Later<string>()
    const before = watch(mine.getOrSet('poster', () => later.promise, tagged))
    await turn()
    await invalidate(theirs)
    later.resolve('old')
    await turn()
    expect(before.value).toBe('old')
    expect(await theirs.get('poster')).toBe(undefined)
  })
})

describe.each(invalidations)('%s while a value is read from the backend', (_, invalidate) => {
  async function readWhile(act: (mine: CacheNamespace, theirs: CacheNamespace) => Promise<unknown>): Promise<{
    readonly node: Awaited<ReturnType<CacheOn['node']>>
    readonly prices: CacheNamespace
    readonly read: unknown
  }> {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open(), await two.open()]
    await theirs.set('poster', 'old', tagged)
    await world.clock.advance(0)
    const answer = new Later<void>()
    one.holdAnswer('get', answer.promise)
    const read = watch(mine.get('poster'))
    await turn()
    await act(mine, theirs)
    await world.clock.advance(0)
    answer.resolve()
    await turn()
    one.steps = {}
    return { node: one, prices: mine, read: read.value }
  }

  test('by this node: it is not kept in this process', async () => {
    const { node, prices, read } = await readWhile((mine) => invalidate(mine))
    expect(read).toBe('old')
    expect(await prices.get('poster')).toBe(undefined)
    expect(node.cache.stats().localHits).toBe(0)
  })

  test('by another node', async () => {
    const { prices } = await readWhile((_mine, theirs) => invalidate(theirs))
    expect(await prices.get('poster')).toBe(undefined)
  })

  test('control: without one it is kept', async () => {
    const { node, prices } = await readWhile(async () => {})
    expect(await prices.get('poster')).toBe('old')
    expect(node.cache.stats().localHits).toBe(1)
  })
})

describe('a tag of a stale value', () => {
  const options = { ttlMs: 1_000, graceMs: 60_000, leaseMs: 60_000 }

  test('is invalidated while a new value is made: who asks after that does not get it', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open(options)
    await prices.set('poster', 'old', tagged)
    await node.clock.advance(2_000)
    const later = new Later<string>()
    const before = watch(prices.getOrSet('poster', () => later.promise))
    await turn()
    expect(await prices.invalidateTags(['wall'])).toBe('done')
    const after = watch(prices.getOrSet('poster', () => 'new', { softTimeoutMs: 0 }))
    await node.clock.advance(100)
    later.resolve('of before')
    await turn()
    expect([before.value, after.value]).toEqual(['of before', 'new'])
    expect(await prices.get('poster')).toBe('new')
  })

  test.each(['get', 'claim'] as const)(
    'is invalidated while the answer to a %s is on its way: nobody joins',
    async (verb) => {
      const world = new CacheOn({ withSignals: false })
      const [node, other] = [await world.node(), await world.node()]
      const [prices, theirs] = [await node.open(options), await other.open(options)]
      await theirs.set('poster', 'old', tagged)
      // Fresh for the claim alone: another node stored it between the two.
      await node.clock.advance(2_000)
      const answer = new Later<void>()
      if (verb === 'claim') {
        node.steps = {
          claim: {
            before: () => theirs.set('poster', 'old', tagged).then(() => {}),
            after: () => answer.promise,
          },
        }
      } else node.holdAnswer(verb, answer.promise)
      const before = watch(prices.getOrSet('poster', () => 'new'))
      await turn()
      await prices.invalidateTags(['wall'])
      node.steps = {}
      const after = watch(prices.getOrSet('poster', () => 'new', { softTimeoutMs: 0 }))
      await node.clock.advance(100)
      answer.resolve()
      await node.clock.advance(100)
      expect(before.state).toBe('resolved')
      expect(after.value).toBe('new')
    },
  )

  test('is invalidated elsewhere between the search and the claim: it is not served', async () => {
    const world = new CacheOn({ withSignals: false })
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open(options), await two.open(options)]
    await theirs.set('poster', 'old', tagged)
    await world.clock.advance(2_000)
    one.steps = { claim: { before: () => theirs.invalidateTags(['wall']).then(() => {}) } }
    const failure = new Error('no')
    const call = watch(mine.getOrSet('poster', () => Promise.reject(failure)))
    await world.clock.advance(100)
    expect(call.value).toBe(failure)
  })

  test('is invalidated elsewhere, and a third node makes a new value: it is not served meanwhile', async () => {
    const world = new CacheOn({ withSignals: false })
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open(options), await two.open(options)]
    await theirs.set('poster', 'old', tagged)
    await world.clock.advance(2_000)
    const [made, claimed] = [new Later<string>(), new Later<void>()]
    one.steps = {
      claim: {
        before: async () => {
          one.steps = {}
          await theirs.invalidateTags(['wall'])
          void theirs.getOrSet('poster', () => made.promise)
          await turn()
          claimed.resolve()
        },
      },
    }
    const call = watch(mine.getOrSet('poster', () => 'mine', { softTimeoutMs: 50 }))
    await claimed.promise
    await world.clock.advance(1_000)
    expect(call.state).toBe('pending')
    made.resolve('new')
    await world.clock.advance(100)
    expect(call.value).toBe('new')
  })
})

describe('races of this node', () => {
  test('what was read after a delete began, and before the backend had it, is not kept', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open()
    await prices.set('poster', 'old')
    const heard = new Later<void>()
    node.holdCall('delete', heard.promise)
    const deleting = watch(prices.delete('poster'))
    await turn()
    expect(await prices.get('poster')).toBe('old')
    heard.resolve()
    await turn()
    expect(deleting.value).toBe('done')
    expect(await prices.get('poster')).toBe(undefined)
  })

  test('nobody joins a search that began before the backend had the delete', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open()
    await prices.set('poster', 'old')
    const [heard, answer] = [new Later<void>(), new Later<void>()]
    node.holdCall('delete', heard.promise)
    node.holdAnswer('get', answer.promise)
    const deleting = prices.delete('poster')
    const early = watch(prices.getOrSet('poster', () => 'new'))
    await turn()
    heard.resolve()
    await deleting
    node.steps = {}
    const late = watch(prices.getOrSet('poster', () => 'new'))
    await node.clock.advance(100)
    answer.resolve()
    await turn()
    expect([early.value, late.value]).toEqual(['old', 'new'])
  })

  test('a set while a value is made: that of set stays', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    const later = new Later<string>()
    const call = watch(prices.getOrSet('poster', () => later.promise))
    await turn()
    await prices.set('poster', 'set')
    later.resolve('made')
    await turn()
    expect(call.value).toBe('made')
    expect(await prices.get('poster')).toBe('set')
  })

  test('two sets at once: this process agrees with the backend, whichever came last', async () => {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open(), await two.open({ l1: false })]
    const first = new Later<void>()
    one.holdCall('set', first.promise)
    const setting = mine.set('poster', 'first')
    await turn()
    one.steps = {}
    await mine.set('poster', 'second')
    first.resolve()
    await setting
    expect(await mine.get('poster')).toBe(await theirs.get('poster'))
  })

  test('sets of two nodes at once: both agree with the backend', async () => {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open(), await two.open()]
    const answer = new Later<void>()
    one.holdAnswer('set', answer.promise)
    const setting = mine.set('poster', 'mine')
    await turn()
    await theirs.set('poster', 'theirs')
    await world.clock.advance(0)
    answer.resolve()
    await setting
    await world.clock.advance(0)
    expect(await mine.get('poster')).toBe('theirs')
    expect(await theirs.get('poster')).toBe('theirs')
  })

  test('what the caller changes later is not changed here', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    const value = { cents: 12 }
    await prices.set('poster', value)
    const made = await prices.getOrSet('shirt', () => ({ cents: 13 }))
    value.cents = 99
    Object.assign(Object(made), { cents: 99 })
    expect(await prices.getMany(['poster', 'shirt'])).toEqual([{ cents: 12 }, { cents: 13 }])
  })
})

describe('an outage', () => {
  test('what was deleted meanwhile is not read from the backend before it was told', async () => {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open(), await two.open()]
    await mine.set('poster', 'old')
    await theirs.get('poster')
    one.fail(away())
    expect(await mine.delete('poster')).toBe('deferred')
    expect(await mine.get('poster')).toBe(undefined)
    expect(one.cache.stats()).toMatchObject({ deferred: 1, waiting: 1 })
    one.steps = {}
    expect(await mine.get('poster')).toBe(undefined)
    await world.clock.advance(3_000)
    expect(one.cache.stats()).toMatchObject({ waiting: 0, replayed: 1 })
    expect(await theirs.get('poster')).toBe(undefined)
    expect(await mine.getOrSet('poster', () => 'new')).toBe('new')
  })

  test('a value that is made while a delete waits for the backend is not sent', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    const later = new Later<string>()
    const call = watch(prices.getOrSet('poster', () => later.promise))
    await turn()
    node.fail(away(), ['delete', 'release'])
    expect(await prices.delete('poster')).toBe('deferred')
    later.resolve('old')
    await turn()
    expect(call.value).toBe('old')
    expect(node.count('fill')).toBe(0)
  })

  test('a set that failed deletes what was there', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open()
    await prices.set('poster', 'old')
    node.fail(away())
    expect(await prices.set('poster', 'new')).toBe('deferred')
    node.steps = {}
    await world.clock.advance(3_000)
    expect(await prices.get('poster')).toBe(undefined)
    expect(node.cache.stats()).toMatchObject({ waiting: 0 })
  })

  test('a key that was stored meanwhile is not deleted after that', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open()
    node.fail(away())
    await prices.delete('poster')
    await prices.set('shirt', 'lost')
    node.steps = {}
    await prices.setMany([
      { key: 'poster', value: 'new' },
      { key: 'shirt', value: 'new' },
    ])
    expect(node.cache.stats().waiting).toBe(0)
    await world.clock.advance(3_000)
    expect(await prices.getMany(['poster', 'shirt'])).toEqual(['new', 'new'])
    expect(node.count('delete')).toBe(1)
  })

  test('a key whose earlier store may still arrive is deleted all the same, and one that is deleted while it is stored', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open()
    node.fail(new MultinodeError('TIMEOUT', 'late', { outcome: 'unknown' }))
    await prices.set('poster', 'old')
    node.steps = {}
    const stored = new Later<void>()
    node.holdAnswer('set', stored.promise)
    node.fail(away(), ['delete'])
    const setting = prices.setMany([
      { key: 'poster', value: 'new' },
      { key: 'shirt', value: 'new' },
    ])
    await prices.delete('shirt')
    stored.resolve()
    await setting
    expect(node.cache.stats().waiting).toBe(2)
    node.steps = {}
    await world.clock.advance(3_000)
    expect(await prices.getMany(['poster', 'shirt'])).toEqual([undefined, undefined])
  })

  test('what was told just before the end is not reported as lost', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open()
    node.fail(away())
    await prices.delete('poster')
    node.steps = {}
    const closing = watch(node.cache.close())
    await world.clock.advance(5_000)
    expect(closing.state).toBe('resolved')
    expect(node.reported).toEqual([])
    expect(node.cache.stats().replayed).toBe(1)
  })
})
