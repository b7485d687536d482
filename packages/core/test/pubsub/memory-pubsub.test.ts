import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type NodesChange, PubSub } from '../../src/index.ts'
import { MemoryPubSub } from '../../src/pubsub/memory-pubsub.ts'
import { capabilityContext, ManualClock, memoryPubSub, pluginContext } from '../../src/testing/index.ts'

interface Node {
  readonly pubsub: PubSub
  readonly driver: MemoryPubSub
  readonly nodeId: string
  readonly incarnation: string
  /** Payloads and gaps of all topics, in order. */
  readonly seen: unknown[]
  readonly changes: NodesChange[]
}

/** Nodes of one cluster on memory, with a clock that stands still. */
class MemoryWorld {
  readonly clock = new ManualClock()
  readonly clusterName = randomBytes(8).toString('hex')

  async node(): Promise<Node> {
    const { clock, clusterName } = this
    const context = pluginContext({ clock, clusterName })
    const driver = new MemoryPubSub(context)
    const { node } = context
    const pubsub = new PubSub(driver, { ...capabilityContext('pubsub', 'memory', { clock }), node })
    const seen: unknown[] = []
    const changes: NodesChange[] = []
    const onGap = (gap: unknown): void => void seen.push(gap)
    await pubsub.subscribe('#', ({ payload }) => void seen.push(payload), { onGap, self: 'include' })
    pubsub.onNodes((change) => changes.push(change))
    return { pubsub, driver, seen, changes, nodeId: node.nodeId, incarnation: node.incarnation }
  }
}

describe('signals on memory', () => {
  test('reach all nodes of the cluster name in one order, and no other cluster', async () => {
    const [world, another] = [new MemoryWorld(), new MemoryWorld()]
    const [a, b, other] = [await world.node(), await world.node(), await another.node()]
    await Promise.all(
      [1, 2, 3].flatMap((n) => [a.pubsub.publish('t', `a${n}`), b.pubsub.publish('t', `b${n}`)]),
    )
    await world.clock.advance(0)
    expect(a.seen).toHaveLength(6)
    expect(b.seen).toEqual(a.seen)
    expect(other.seen).toEqual([])
  })

  test('reach a node from when it joined on', async () => {
    const world = new MemoryWorld()
    const a = await world.node()
    await a.pubsub.publish('t', 1)
    const b = await world.node()
    await a.pubsub.publish('t', 2)
    await world.clock.advance(0)
    expect([a.seen, b.seen]).toEqual([[1, 2], [2]])
  })

  test('are held up by one slow node for that one only', async () => {
    const world = new MemoryWorld()
    const [a, b] = [await world.node(), await world.node()]
    await b.pubsub.subscribe('t', () => new Promise(() => {}), {
      onGap: 'ignore',
      overflow: 'block',
      maxQueue: 1,
    })
    for (const payload of [1, 2, 3, 4]) await a.pubsub.publish('t', payload)
    await world.clock.advance(0)
    expect(a.seen).toEqual([1, 2, 3, 4])
    expect(b.seen.length).toBeLessThan(4)
  })

  test('beyond the 10,000 that are kept for a slow node are a gap with the exact number', async () => {
    const world = new MemoryWorld()
    const [a, b] = [await world.node(), await world.node()]
    b.driver.native.cut(b.nodeId)
    for (let index = 0; index < 10_001; index += 1) await a.pubsub.publish('t', index)
    b.driver.native.heal()
    await a.pubsub.publish('t', 'after')
    await world.clock.advance(0)
    expect(a.seen).toHaveLength(10_002)
    expect(b.seen).toEqual([{ reason: 'trimmed', missed: 10_002 }])
  })

  test('say what they guarantee, and that they are not shared', async () => {
    const driver = await memoryPubSub.create(pluginContext())
    expect(driver).toMatchObject({ features: { scope: 'process', order: 'total' }, address: null, lanes: 1 })
    await driver.ping(100)
    await driver.close()
    await driver.close()
  })

  test('end with the driver: publishing after it has left is refused', async () => {
    const world = new MemoryWorld()
    const { driver, pubsub } = await world.node()
    const request = { lane: 0, signals: [], firstUnaccepted: 1 }
    await pubsub.close()
    await expect(driver.publish(request)).rejects.toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent' })
    await driver.close()
    await driver.join({ receive: async () => {}, gap() {}, members() {}, isolated() {}, hearing() {} }, {})
    await expect(driver.publish(request)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })
})

describe('nodes on memory', () => {
  test('see each other come and go, with metadata and since when', async () => {
    const world = new MemoryWorld()
    const a = await world.node()
    await world.clock.advance(500)
    const b = await world.node()
    const since = world.clock.wallMs()
    expect(a.pubsub.nodes()).toEqual(b.pubsub.nodes())
    expect(a.pubsub.nodes()).toEqual([
      { nodeId: a.nodeId, incarnation: a.incarnation, sinceMs: since - 500, metadata: {} },
      { nodeId: b.nodeId, incarnation: b.incarnation, sinceMs: since, metadata: {} },
    ])
    await b.pubsub.close()
    expect(a.pubsub.nodes().map(({ nodeId }) => nodeId)).toEqual([a.nodeId])
    expect(a.changes.map(({ joined, left }) => [joined.length, left.length])).toEqual([
      [1, 0],
      [0, 1],
    ])
  })
})

describe('a test that plays a backend in trouble', () => {
  test('cuts a node off, which buffers, is isolated, and catches up', async () => {
    const world = new MemoryWorld()
    const [a, b] = [await world.node(), await world.node()]
    b.driver.native.cut(b.nodeId)
    expect(await b.pubsub.publish('t', 'b')).toEqual({ status: 'buffered' })
    expect(await a.pubsub.publish('t', 'a')).toEqual({ status: 'sent' })
    await world.clock.advance(5_000)
    expect([a.seen, b.seen]).toEqual([['a'], []])
    expect(b.changes.at(-1)).toMatchObject({ isIsolated: true })
    expect(a.pubsub.nodes()).toHaveLength(1)
    b.driver.native.heal()
    await world.clock.advance(2_000)
    expect([a.seen, b.seen]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ])
    expect(b.changes.at(-1)).toMatchObject({ isIsolated: false })
    expect(a.pubsub.nodes()).toHaveLength(2)
  })

  test('makes a node deaf, which knows it, is heard, and catches up', async () => {
    const world = new MemoryWorld()
    const [a, b] = [await world.node(), await world.node()]
    const bus = b.driver.native
    bus.deafen(b.nodeId)
    expect([a.pubsub.isHearing, b.pubsub.isHearing, b.pubsub.isIsolated]).toEqual([true, false, false])
    await a.pubsub.publish('t', 'a')
    expect(await b.pubsub.publish('t', 'b')).toEqual({ status: 'sent' })
    await world.clock.advance(5_000)
    expect([a.seen, b.seen]).toEqual([['a', 'b'], []])
    bus.heal()
    await world.clock.advance(0)
    expect([b.pubsub.isHearing, b.seen]).toEqual([true, ['a', 'b']])
  })

  test('delays what arrives', async () => {
    const world = new MemoryWorld()
    const a = await world.node()
    a.driver.native.delay(300)
    await a.pubsub.publish('t', 1)
    await world.clock.advance(299)
    expect(a.seen).toEqual([])
    await world.clock.advance(1)
    expect(a.seen).toEqual([1])
  })

  test('drops what a node has not had yet, and tells it', async () => {
    const world = new MemoryWorld()
    const [a, b] = [await world.node(), await world.node()]
    b.driver.native.delay(100)
    for (const payload of [1, 2, 3]) await a.pubsub.publish('t', payload)
    b.driver.native.drop(b.nodeId, 2)
    await world.clock.advance(1_000)
    expect(a.seen).toEqual([1, 2, 3])
    expect(b.seen).toEqual([{ reason: 'rewind', missed: 2 }, 3])
  })

  test('tells a node of a gap though nothing is missing', async () => {
    const world = new MemoryWorld()
    const [a, b] = [await world.node(), await world.node()]
    b.driver.native.gap(b.nodeId, { reason: 'epoch', missed: undefined })
    await world.clock.advance(0)
    expect([a.seen, b.seen]).toEqual([[], [{ reason: 'epoch', missed: undefined }]])
  })

  test('is told when there is no such node', async () => {
    const { driver } = await new MemoryWorld().node()
    for (const act of [() => driver.native.cut('n9'), () => driver.native.drop('n9')])
      expect(act).toThrow('There is no node "n9" in this process.')
  })
})
