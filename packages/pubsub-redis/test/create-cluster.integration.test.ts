import { inspect } from 'node:util'
import { type Cluster, createCluster } from '@multinode/core'
import { claimPort, serversAvailable, startRedis, waitUntil, withOwnLateness } from '@multinode/testbed'
import { beforeAll, describe, expect, it } from 'vitest'

/** Of those that cannot connect: a twentieth of it is for being late with the reason. */
const connectTimeoutMs = 5_000
const patientMs = 10_000

function create(env: Record<string, string>, connectTimeoutMs = patientMs): Promise<Cluster> {
  return createCluster({ env, capabilities: ['pubsub'], resolveFrom: import.meta.url, connectTimeoutMs })
}

describe.skipIf(!serversAvailable()).concurrent('createCluster with signals on Redis', () => {
  // What is loaded once takes nothing of the time of those that have little.
  beforeAll(async () => {
    await using server = await startRedis()
    await using _loaded = await create({ CLUSTER_NAME: 'shop', REDIS_URL: server.url })
  })

  it.each([
    [{ PUBSUB_ADAPTER: 'redis' }, 'PUBSUB_ADAPTER=redis', 'PUBSUB_ADAPTER_REDIS_URL'],
    [{ PUBSUB_ADAPTER: '@multinode/pubsub-redis' }, 'PUBSUB_ADAPTER=@multinode/pubsub-redis', 'REDIS_URL'],
    [{ CLUSTER_ADAPTER: 'redis' }, 'CLUSTER_ADAPTER=redis', 'REDIS_URL'],
    [{}, 'PUBSUB_ADAPTER_REDIS_URL', 'PUBSUB_ADAPTER_REDIS_URL'],
  ])('is set up by %o, and describes what it took and from where', async (env, because, variable) => {
    await using server = await startRedis({ password: 's3cr3t' })
    const all = { CLUSTER_NAME: 'shop', ...env, [variable]: server.url }
    await using cluster = await create(all)
    await using other = await create(all)
    const description = cluster.describe()
    expect(description.capabilities).toEqual([
      {
        capability: 'pubsub',
        backend: 'redis',
        from: '@multinode/pubsub-redis',
        address: `redis://:***@127.0.0.1:${server.port}/0`,
        addressFrom: variable,
        because: expect.stringContaining(because),
        features: { scope: 'cluster', order: 'total' },
        notes: [],
      },
    ])
    expect(description.warnings).toEqual([])
    expect(inspect(description, { depth: 10 })).not.toContain('s3cr3t')
    const heard: unknown[] = []
    await other.pubsub.subscribe('orders.*', ({ payload }) => void heard.push(payload), { onGap: 'ignore' })
    expect(await cluster.pubsub.publish('orders.changed', 7)).toEqual({ status: 'sent' })
    await waitUntil('it to arrive', () => heard.length > 0)
    expect(heard).toEqual([7])
  })

  it('rejects within connectTimeoutMs, with the reason, when nobody listens', async () => {
    const free = await claimPort()
    const startedAtMs = performance.now()
    const env = { PUBSUB_ADAPTER: 'redis', REDIS_URL: `redis://127.0.0.1:${free.port}` }
    const { result: failure, sumMs } = await withOwnLateness(() =>
      create(env, connectTimeoutMs).catch((error: unknown) => error),
    )
    const ms = performance.now() - startedAtMs
    free.release()
    expect(failure).toMatchObject({ code: 'UNAVAILABLE' })
    expect(String(failure)).toMatch(/\(REDIS_URL\) .* connect ECONNREFUSED/)
    expect(ms).toBeLessThan(connectTimeoutMs * 1.2 + sumMs)
  })

  it('leaves no node and no connection behind when it is closed', async () => {
    await using server = await startRedis()
    const cluster = await create({ CLUSTER_NAME: 'shop', PUBSUB_ADAPTER_REDIS_URL: server.url })
    await cluster.pubsub.subscribe('#', () => {}, { onGap: 'ignore' })
    const clients = async (): Promise<number> =>
      String(await server.cli('CLIENT', 'LIST'))
        .trim()
        .split('\n').length
    // One of them is that which asks; that which reads connects beside.
    await waitUntil('all connections', async () => (await clients()) === 3)
    await cluster.close()
    await waitUntil('no client', async () => (await clients()) === 1)
    expect(await server.cli('HLEN', '{shop:pubsub:0}:nodes')).toBe(0)
  })
})
