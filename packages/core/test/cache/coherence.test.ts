import { describe, expect, test } from 'vitest'
import { type CacheNamespace, MultinodeError } from '../../src/index.ts'
import { turn } from '../support/outcome.ts'
import { type CacheNode, CacheOn } from './cache-on.ts'

async function two(): Promise<{
  readonly world: CacheOn
  readonly one: CacheNode
  readonly two: CacheNode
  readonly mine: CacheNamespace
  readonly theirs: CacheNamespace
}> {
  const world = new CacheOn()
  const [first, second] = [await world.node(), await world.node()]
  const [mine, theirs] = [await first.open(), await second.open()]
  return { world, one: first, two: second, mine, theirs }
}

/** Whether the next `get` asks the backend. */
async function asks(node: CacheNode, prices: CacheNamespace, key = 'poster'): Promise<boolean> {
  const before = node.count('get')
  await prices.get(key)
  return node.count('get') > before
}

describe('what this process keeps', () => {
  test('is told of by the others', async () => {
    const { world, one, mine, theirs } = await two()
    await mine.set('poster', 'old')
    expect(await asks(one, mine)).toBe(false)
    await theirs.set('poster', 'new')
    await world.clock.advance(0)
    expect(await mine.get('poster')).toBe('new')
    expect(one.cache.stats()).toMatchObject({ heard: 1, lost: 0 })
  })

  test('of another namespace or version is not concerned', async () => {
    const { world, one, two: other, mine } = await two()
    await mine.set('poster', 'old')
    await other.cache.namespace('others', { ttlMs: 1_000 }).clear()
    await (await other.open({ version: '2' })).clear()
    await world.clock.advance(0)
    expect(await asks(one, mine)).toBe(false)
  })

  test('many keys are told in few signals, and too many as a clear', async () => {
    const { world, one, mine, theirs } = await two()
    await mine.set('poster', 'old')
    await theirs.delete(Array.from({ length: 1_000 }, (_, index) => `${index}-${'x'.repeat(100)}`))
    await world.clock.advance(0)
    expect(one.cache.stats().heard).toBe(4)
    expect(await asks(one, mine)).toBe(false)
    await theirs.delete(Array.from({ length: 5_000 }, (_, index) => `${index}-${'x'.repeat(100)}`))
    await world.clock.advance(0)
    expect(one.cache.stats().heard).toBe(5)
    expect(await asks(one, mine)).toBe(true)
  })

  test('is given up at a gap, whatever is in it', async () => {
    const { world, one, mine } = await two()
    await mine.set('poster', 'old')
    one.bus.gap(one.nodeId, { reason: 'trimmed', missed: undefined })
    await world.clock.advance(0)
    expect(await asks(one, mine)).toBe(true)
    expect(await asks(one, mine)).toBe(false)
    expect(one.cache.stats().lost).toBe(1)
  })

  test('is given up when a node is taken for dead, because it may have changed what it could not tell', async () => {
    const { world, one, two: other, mine } = await two()
    await mine.set('poster', 'old')
    await other.pubsub.close()
    await world.clock.advance(0)
    expect(await asks(one, mine)).toBe(true)
  })

  test('counts for 2 s while this node is cut off, and is read again when it is not any more', async () => {
    const { world, one, mine, theirs } = await two()
    await mine.set('poster', 'old')
    await mine.set('shirt', 'unchanged')
    one.bus.cut(one.nodeId)
    await theirs.set('poster', 'new')
    await world.clock.advance(1_999)
    expect(await mine.get('poster')).toBe('old')
    await world.clock.advance(1)
    expect(await mine.get('poster')).toBe('new')
    expect(await asks(one, mine)).toBe(false)
    one.bus.heal()
    await world.clock.advance(0)
    expect(await asks(one, mine)).toBe(true)
    expect(await asks(one, mine, 'shirt')).toBe(true)
    await world.clock.advance(10_000)
    expect(await asks(one, mine)).toBe(false)
  })

  test.each([
    ['knows that it hears nothing', 'new'],
    ['does not know that it hears nothing, the control', 'old'],
  ])('of a node that %s is %s after 2 s', async (how, expected) => {
    const { world, one, mine, theirs } = await two()
    await mine.set('poster', 'old')
    if (how.includes('control')) one.bus.delay(60_000)
    else one.bus.deafen(one.nodeId)
    await theirs.set('poster', 'new')
    await world.clock.advance(2_000)
    expect(await mine.get('poster')).toBe(expected)
  })

  test('counts as ever when this node hears again, but for what it had', async () => {
    const { world, one, mine, theirs } = await two()
    one.bus.deafen(one.nodeId)
    await mine.set('poster', 'old')
    await theirs.set('poster', 'new')
    one.bus.heal()
    await world.clock.advance(0)
    expect(await mine.get('poster')).toBe('new')
    await world.clock.advance(10_000)
    expect(await asks(one, mine)).toBe(false)
    expect(one.cache.stats()).toMatchObject({ heard: 1, lost: 0 })
  })

  test('counts for 2 s while what this node told has not left it', async () => {
    const { world, one, mine } = await two()
    const publish = one.pubsub.driver.publish.bind(one.pubsub.driver)
    one.pubsub.driver.publish = () => Promise.reject(new Error('away'))
    await mine.set('poster', 'old')
    await turn()
    await world.clock.advance(2_000)
    expect(await asks(one, mine)).toBe(true)
    one.pubsub.driver.publish = publish
    await world.clock.advance(5_000)
    await mine.get('poster')
    await world.clock.advance(5_000)
    expect(await asks(one, mine)).toBe(false)
  })

  test('that cannot be told to the others, whatever changes, is reported once a second', async () => {
    const { one, mine } = await two()
    const error = new MultinodeError('MISCONFIGURED', 'no right to publish', { outcome: 'not-sent' })
    one.pubsub.driver.publish = async () => ({ accepted: 0, failure: { error, isFinal: true } })
    for (let n = 0; n < 100; n += 1) await mine.set('poster', n)
    await turn()
    expect(one.reported).toEqual([error])
  })

  test('counts for 2 s while the cluster object drains', async () => {
    const { world, one, mine } = await two()
    await mine.set('poster', 'old')
    await one.cache.drain(0)
    expect(await asks(one, mine)).toBe(false)
    await world.clock.advance(2_000)
    expect(await asks(one, mine)).toBe(true)
  })
})

describe('without signals', () => {
  test('nothing is kept in this process, and an operator is told once', async () => {
    const node = await new CacheOn({ withSignals: false, scope: 'cluster' }).node()
    const prices = await node.open()
    await prices.set('poster', 'old')
    expect(await asks(node, prices)).toBe(true)
    expect(node.warned).toEqual([expect.stringContaining('Set PUBSUB_ADAPTER')])
  })

  test('but for as long as was said', async () => {
    const node = await new CacheOn({ withSignals: false, scope: 'cluster' }).node()
    const prices = await node.open({ l1: { ttlMs: 5_000 } })
    await prices.set('poster', 'old')
    await node.clock.advance(4_999)
    expect(await asks(node, prices)).toBe(false)
    await node.clock.advance(1)
    expect(await asks(node, prices)).toBe(true)
  })

  test('signals within this process are none for a shared cache', async () => {
    const node = await new CacheOn({ scope: 'cluster' }).node()
    const prices = await node.open()
    await prices.set('poster', 'old')
    expect(await asks(node, prices)).toBe(true)
    expect(node.warned).toHaveLength(1)
  })

  test('a cache within this process needs none, and nobody is told', async () => {
    const node = await new CacheOn({ withSignals: false }).node()
    await node.open()
    expect(node.warned).toEqual([])
  })
})
