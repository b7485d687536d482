import { inspect } from 'node:util'
import { type Cluster, createCluster } from '@multinode/core'
import { claimPort, serversAvailable, startRedis, stolenMs, waitUntil } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'

// The first one also loads BullMQ, in which a loaded machine takes a second.
const connectTimeoutMs = 5_000

/** With much time, unless that is the point. */
function create(env: Record<string, string>, patienceMs = 30_000): Promise<Cluster> {
  const connection = { connectTimeoutMs: patienceMs }
  return createCluster({ env, capabilities: ['queue'], resolveFrom: import.meta.url, ...connection })
}

describe.skipIf(!serversAvailable()).concurrent('createCluster with queues on Redis', () => {
  it.each([
    [{ QUEUE_ADAPTER: 'redis' }, 'QUEUE_ADAPTER=redis', 'QUEUE_ADAPTER_REDIS_URL'],
    [{ QUEUE_ADAPTER: '@multinode/queue-redis' }, 'QUEUE_ADAPTER=@multinode/queue-redis', 'REDIS_URL'],
    [{ CLUSTER_ADAPTER: 'redis' }, 'CLUSTER_ADAPTER=redis', 'REDIS_URL'],
    [{}, 'QUEUE_ADAPTER_REDIS_URL', 'QUEUE_ADAPTER_REDIS_URL'],
  ])('is set up by %o, and describes what it took and from where', async (env, because, variable) => {
    await using server = await startRedis({ password: 's3cr3t', aof: true })
    const all = { CLUSTER_NAME: 'shop', ...env, [variable]: server.url }
    await using cluster = await create(all)
    await using other = await create(all)
    const description = cluster.describe()
    expect(description.capabilities).toEqual([
      {
        capability: 'queue',
        backend: 'redis',
        from: '@multinode/queue-redis',
        address: `redis://:***@127.0.0.1:${server.port}/0`,
        addressFrom: variable,
        because: expect.stringContaining(because),
        features: expect.objectContaining({
          scope: 'cluster',
          persistence: expect.stringMatching(/^aof-(always|everysec)$/),
        }),
        notes: [],
      },
    ])
    expect(description.warnings).toEqual([])
    expect(inspect(description, { depth: 10 })).not.toContain('s3cr3t')
    const seen: unknown[] = []
    await other.queue('mails').process(({ payload }) => void seen.push(payload))
    expect(await cluster.queue('mails').add(7)).toMatchObject({ status: 'added' })
    await waitUntil('it to run', () => seen.length > 0)
    expect(seen).toEqual([7])
  })

  it('rejects within connectTimeoutMs, with the reason, when nobody listens', async () => {
    const free = await claimPort()
    const startedAtMs = performance.now()
    const env = { QUEUE_ADAPTER: 'redis', REDIS_URL: `redis://127.0.0.1:${free.port}` }
    const failure: unknown = await create(env, connectTimeoutMs).catch((error: unknown) => error)
    const ms = performance.now() - startedAtMs
    free.release()
    expect(failure).toMatchObject({ code: 'UNAVAILABLE' })
    expect(String(failure)).toMatch(/\(REDIS_URL\) .* connect ECONNREFUSED/)
    expect(ms).toBeLessThan(connectTimeoutMs * 1.2 + stolenMs())
  })

  it('leaves no connection behind when it is closed, whether a worker waits, was paused, or runs a job', async () => {
    await using server = await startRedis()
    const cluster = await create({ CLUSTER_NAME: 'shop', QUEUE_ADAPTER_REDIS_URL: server.url })
    const started: string[] = []
    const forEver = new Promise<void>(() => {})
    await cluster.queue('waits').process(() => {})
    await cluster.queue('paused').process(() => {})
    await cluster.queue('paused').pause('node')
    const busy = cluster.queue('runs')
    await busy.process(
      async ({ id }) => {
        started.push(id)
        await forEver
      },
      { handlerGraceMs: 0 },
    )
    await busy.add(1)
    await waitUntil('it to run', () => started.length > 0)
    const clients = async (): Promise<number> =>
      String(await server.cli('CLIENT', 'LIST'))
        .trim()
        .split('\n').length
    // One that all adapters share, one that adds, two for each worker, and that which asks.
    expect(await clients()).toBe(9)
    await cluster.close()
    await waitUntil('no client', async () => (await clients()) === 1)
  })
})
