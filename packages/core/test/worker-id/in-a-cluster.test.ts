import { hostname } from 'node:os'
import { describe, expect, test } from 'vitest'
import { createCluster } from '../../src/index.ts'
import { failureOf } from '../support/outcome.ts'
import { WorkerIdsOn } from './worker-ids-on.ts'

const capabilities = ['workerid'] as const

describe('worker ids in a cluster object', () => {
  test('are its workerIds, with stats and a line in describe()', async () => {
    const on = new WorkerIdsOn()
    const cluster = await createCluster({
      env: {},
      name: 'shop',
      clock: on.clock,
      capabilities,
      plugins: [on.plugin()],
    })
    const lease = await cluster.workerIds.acquire({ prefer: 3 })
    expect(cluster.stats()).toMatchObject({ lock: undefined, workerid: { acquired: 1, held: [3] } })
    expect(cluster.describe().capabilities).toMatchObject([
      {
        capability: 'workerid',
        backend: 'steered',
        address: 'steered://here',
        features: { scope: 'cluster' },
      },
    ])
    expect(cluster.workerIds.driver).toBe(on.driver)
    expect(lease.held).toBe(true)
    await cluster.drain()
    expect(on.table.holders()).toEqual([])
    await cluster.close()
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('can be required to be shared: the start fails on memory, and succeeds on a backend', async () => {
    const require = { workerid: { scope: 'cluster' } } as const
    const error = await failureOf(() => createCluster({ env: {}, capabilities, require }))
    expect(error).toMatchObject({ message: expect.stringMatching(/workerid.*scope.*(cluster|process)/s) })
    const plugins = [new WorkerIdsOn().plugin()]
    const cluster = await createCluster({ env: {}, name: 'shop', capabilities, require, plugins })
    await cluster.close()
  })

  test('are refused on a driver that lacks a verb', async () => {
    const on = new WorkerIdsOn()
    const plugin = { ...on.plugin(), create: async () => ({ ...on.driver, holders: undefined }) }
    const error = await failureOf(() =>
      Reflect.apply(createCluster, undefined, [{ env: {}, name: 'shop', capabilities, plugins: [plugin] }]),
    )
    expect(error).toMatchObject({ message: expect.stringContaining('holders') })
  })

  test.each([
    ['NODE_ID', { NODE_ID: 'shop-7' }, 'shop-7'],
    ['NODE_APP_INSTANCE', { NODE_APP_INSTANCE: '2' }, `${hostname()}-2`],
  ])('are owned by the name of the node, when %s gives it one', async (_, env, ownerKey) => {
    const on = new WorkerIdsOn()
    await using cluster = await createCluster({
      env,
      name: 'shop',
      capabilities,
      plugins: [on.plugin()],
      clock: on.clock,
    })
    await cluster.workerIds.acquire()
    expect(on.requests('acquire')).toMatchObject([{ ownerKey }])
  })

  test('are owned by the process when nobody named the node: the next cluster object gets the same id', async () => {
    const on = new WorkerIdsOn()
    const ids: number[] = []
    for (const prefer of [5, 6]) {
      await using cluster = await createCluster({
        env: {},
        name: 'shop',
        capabilities,
        plugins: [on.plugin()],
        clock: on.clock,
      })
      ids.push((await cluster.workerIds.acquire({ prefer })).id)
    }
    expect(ids).toEqual([5, 5])
    const keys = on.requests('acquire').map((each) => Reflect.get(Object(each), 'ownerKey'))
    expect(keys[0]).toMatch(/^process-[0-9a-f]{16}$/)
    expect(keys[1]).toBe(keys[0])
  })

  test('take the hint of the variables that the cluster object was given', async () => {
    const on = new WorkerIdsOn()
    const env = { WORKER_ID: '11' }
    await using cluster = await createCluster({
      env,
      name: 'shop',
      capabilities,
      plugins: [on.plugin()],
      clock: on.clock,
    })
    expect((await cluster.workerIds.acquire()).id).toBe(11)
  })
})
