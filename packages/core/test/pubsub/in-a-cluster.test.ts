import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createCluster } from '../../src/index.ts'
import { failureOf } from '../support/outcome.ts'
import { member, PubSubOn } from './pubsub-on.ts'

const capabilities = ['pubsub'] as const

describe('signals in a cluster object', () => {
  test('are its pubsub, with nodes, stats and a line in describe()', async () => {
    const on = new PubSubOn()
    const metadata = { role: 'worker' }
    const plugins = [on.plugin()]
    const cluster = await createCluster({
      env: {},
      name: 'shop',
      clock: on.clock,
      capabilities,
      plugins,
      metadata,
    })
    await on.clock.advance(0)
    expect(on.metadata).toEqual(metadata)
    expect(cluster.nodes()).toEqual([])
    on.receiver.members([member('n1', 'i1')])
    expect(cluster.nodes()).toEqual([member('n1', 'i1')])
    expect(await cluster.pubsub.publish('a', 1)).toEqual({ status: 'sent' })
    expect(cluster.stats()).toMatchObject({ lock: undefined, pubsub: { published: 1, outbox: 0 } })
    expect(cluster.describe().capabilities).toMatchObject([
      {
        capability: 'pubsub',
        backend: 'steered',
        address: 'steered://here',
        features: { scope: 'cluster', order: 'total' },
      },
    ])
    expect(cluster.pubsub.driver).toBe(on.driver)
    await cluster.close()
    expect(on.leaves).toBe(1)
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('of one name hear each other on memory, and know of each other', async () => {
    const name = randomBytes(8).toString('hex')
    await using one = await createCluster({
      env: {},
      name,
      nodeId: 'n1',
      capabilities,
      metadata: { zone: 'a' },
    })
    await using two = await createCluster({ env: {}, name, nodeId: 'n2', capabilities })
    const heard = new Promise((resolve) => {
      void two.pubsub.subscribe('orders.*', resolve, { onGap: 'ignore' })
    })
    await new Promise(setImmediate)
    await one.pubsub.publish('orders.changed', { id: 1 })
    expect(await heard).toMatchObject({ topic: 'orders.changed', payload: { id: 1 }, from: { nodeId: 'n1' } })
    expect(one.nodes().map(({ nodeId, metadata }) => [nodeId, metadata])).toEqual([
      ['n1', { zone: 'a' }],
      ['n2', {}],
    ])
  })

  test('of two nodes of one name, both have everything', async () => {
    const name = randomBytes(8).toString('hex')
    const options = { env: {}, name, nodeId: 'same', capabilities }
    await using one = await createCluster(options)
    await using two = await createCluster(options)
    const heard = new Promise((resolve) => {
      void two.pubsub.subscribe('a', ({ payload }) => resolve(payload), { onGap: 'ignore' })
    })
    await new Promise(setImmediate)
    await one.pubsub.publish('a', 1)
    expect(await heard).toBe(1)
    expect(one.nodes()).toHaveLength(2)
  })

  test('are drained: what was left is told', async () => {
    const on = new PubSubOn()
    await using cluster = await createCluster({
      env: {},
      name: 'shop',
      clock: on.clock,
      capabilities,
      plugins: [on.plugin()],
    })
    on.answers.publish = async () => ({ accepted: 0, failure: { error: new Error('away'), isFinal: false } })
    await cluster.pubsub.publish('a', 1)
    const draining = cluster.drain({ deadlineMs: 1_000 })
    await on.clock.advance(1_000)
    expect(await draining).toEqual({ finished: false, left: { pubsub: ['1 signals that were not sent'] } })
    delete on.answers.publish
    await on.clock.advance(2_000)
  })

  test('can be required to be shared: the start fails on memory, and succeeds on a backend', async () => {
    const require = { pubsub: { scope: 'cluster' } } as const
    const error = await failureOf(() => createCluster({ env: {}, capabilities, require }))
    expect(error).toMatchObject({ message: expect.stringMatching(/pubsub.*scope.*(cluster|process)/s) })
    const plugins = [new PubSubOn().plugin()]
    await using cluster = await createCluster({ env: {}, name: 'shop', capabilities, require, plugins })
    expect(cluster.describe().capabilities).toHaveLength(1)
  })

  test('are refused on a driver that lacks a verb', async () => {
    const on = new PubSubOn()
    const plugin = { ...on.plugin(), create: async () => ({ ...on.driver, leave: undefined }) }
    const error = await failureOf(() =>
      Reflect.apply(createCluster, undefined, [{ env: {}, name: 'shop', capabilities, plugins: [plugin] }]),
    )
    expect(error).toMatchObject({ message: expect.stringContaining('leave') })
  })

  test('are not there when the cluster object was made without them', async () => {
    await using cluster = await createCluster({ env: {}, capabilities: [] })
    expect(() => cluster.pubsub).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', capability: 'pubsub' }),
    )
    expect(() => cluster.nodes()).toThrow('Add "pubsub" there.')
  })

  test.each([
    ['text', 'worker', 'INVALID_ARGUMENT'],
    ['more than 1,024 bytes', { text: 'ä'.repeat(600) }, 'TOO_LARGE'],
  ])('refuse metadata that is %s', async (_, metadata, code) => {
    const error = await failureOf(() =>
      Reflect.apply(createCluster, undefined, [{ env: {}, capabilities, metadata }]),
    )
    expect(error).toMatchObject({ code, details: { name: 'metadata' } })
  })

  test('whose handler fails tell it to the listeners of the cluster object', async () => {
    const on = new PubSubOn()
    await using cluster = await createCluster({ env: {}, name: 'shop', capabilities, plugins: [on.plugin()] })
    const reported: unknown[] = []
    cluster.on('error', (error) => reported.push(error))
    await cluster.pubsub.subscribe('a', () => Promise.reject(new Error('no')), { onGap: 'ignore' })
    await on.receive('a', 1)
    await on.clock.advance(0)
    expect(reported).toMatchObject([{ code: 'REJECTED', capability: 'pubsub' }])
  })
})
