import { inspect } from 'node:util'
import { type Cluster, createCluster } from '@multinode/core'
import { claimPort, serversAvailable, startRedis, tcpProxy, withOwnLateness } from '@multinode/testbed'
import { beforeAll, describe, expect, it } from 'vitest'

/** Of those that cannot connect: a twentieth of it is for being late with the reason. */
const connectTimeoutMs = 5_000
const patientMs = 10_000
const atOnceMs = 1_500
const scopeOfCluster = { workerid: { scope: 'cluster' } } as const

function create(env: Record<string, string>, connectTimeoutMs = patientMs): Promise<Cluster> {
  const capabilities = ['workerid'] as const
  const resolveFrom = import.meta.url
  return createCluster({ env, capabilities, resolveFrom, connectTimeoutMs, require: scopeOfCluster })
}

/** With the time that it took, less what this process waited for its turn. */
async function rejection(env: Record<string, string>): Promise<{ error: unknown; ms: number }> {
  const startedAt = performance.now()
  const { result: results, sumMs } = await withOwnLateness(() =>
    Promise.allSettled([create(env, connectTimeoutMs)]),
  )
  const ms = performance.now() - startedAt - sumMs
  const [result] = results
  if (result.status === 'rejected') return { error: result.reason, ms }
  await result.value.close()
  throw new Error('it was created')
}

describe.skipIf(!serversAvailable()).concurrent('createCluster with worker ids on Redis', () => {
  // What is loaded once takes nothing of the time of those that have little.
  beforeAll(async () => {
    await using server = await startRedis()
    await using _loaded = await create({ CLUSTER_NAME: 'shop', REDIS_URL: server.url })
  })

  it.each([
    [{ WORKERID_ADAPTER: 'redis' }, 'WORKERID_ADAPTER=redis', 'WORKERID_ADAPTER_REDIS_URL'],
    [
      { WORKERID_ADAPTER: '@multinode/workerid-redis' },
      'WORKERID_ADAPTER=@multinode/workerid-redis',
      'REDIS_URL',
    ],
    [{ CLUSTER_ADAPTER: 'redis' }, 'CLUSTER_ADAPTER=redis', 'REDIS_URL'],
    [{}, 'WORKERID_ADAPTER_REDIS_URL', 'WORKERID_ADAPTER_REDIS_URL'],
    [{}, 'REDIS_URL is set and @multinode/workerid-redis is installed', 'REDIS_URL'],
  ])('is set up by %o, and describes what it took and from where (%s)', async (env, because, variable) => {
    await using server = await startRedis({ password: 's3cr3t' })
    await using cluster = await create({ CLUSTER_NAME: 'shop', ...env, [variable]: server.url })
    const description = cluster.describe()
    expect(description.capabilities).toEqual([
      {
        capability: 'workerid',
        backend: 'redis',
        from: '@multinode/workerid-redis',
        address: `redis://:***@127.0.0.1:${server.port}/0`,
        addressFrom: variable,
        because: expect.stringContaining(because),
        features: { scope: 'cluster' },
        notes: [],
      },
    ])
    expect(description.warnings).toEqual([])
    expect(inspect(description, { depth: 10 })).not.toContain('s3cr3t')
    const lease = await cluster.workerIds.acquire({ isFirstStart: true })
    expect(lease.held).toBe(true)
    expect(await server.cli('KEYS', '*')).toEqual(['{shop:workerid:table}:table'])
    expect(cluster.stats().workerid).toMatchObject({ acquired: 1, held: [lease.id] })
  })

  it('gives all ids back when it is closed', async () => {
    await using server = await startRedis()
    const env = { CLUSTER_NAME: 'shop', REDIS_URL: server.url }
    await using other = await create(env)
    const cluster = await create(env)
    const leases = await Promise.all(
      Array.from({ length: 3 }, () => cluster.workerIds.acquire({ isFirstStart: true })),
    )
    expect(await other.workerIds.holders()).toHaveLength(leases.length)
    await cluster.close()
    expect(await other.workerIds.holders()).toEqual([])
    expect(() => leases[0]?.assertHeld()).toThrow(expect.objectContaining({ code: 'NOT_OWNED' }))
    await expect(cluster.workerIds.acquire()).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('is what an app gets that requires the scope of the cluster: without an address it is refused', async () => {
    const { error } = await rejection({})
    expect(error).toMatchObject({ code: 'MISCONFIGURED' })
    expect(String(error)).toContain('scope cluster')
  })

  it('refuses a wrong password at once', async () => {
    await using server = await startRedis({ password: 's3cr3t' })
    const url = server.url.replace('s3cr3t', 'wr0ng')
    const { error, ms } = await rejection({ WORKERID_ADAPTER: 'redis', WORKERID_ADAPTER_REDIS_URL: url })
    expect(error).toMatchObject({ code: 'MISCONFIGURED' })
    expect(String(error)).toContain('WORKERID_ADAPTER_REDIS_URL')
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('wr0ng')
    expect(ms).toBeLessThan(atOnceMs)
  })

  it.each([
    ['redis://:wr0ng@localhost:port', 'is no host with a port'],
    ['redis://:x@wr0ng/@localhost', '%2F'],
    ['http://ann:wr0ng@localhost', 'the scheme http://'],
  ])('refuses the malformed address %s at once, masked', async (url, reason) => {
    const { error, ms } = await rejection({ WORKERID_ADAPTER: 'redis', REDIS_URL: url })
    expect(error).toMatchObject({ code: 'MISCONFIGURED' })
    expect(String(error)).toContain('REDIS_URL=')
    expect(String(error)).toContain(reason)
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('wr0ng')
    expect(ms).toBeLessThan(atOnceMs)
  })

  it('rejects within connectTimeoutMs, with the reason, when nobody listens', async () => {
    const free = await claimPort()
    const { error, ms } = await rejection({ REDIS_URL: `redis://127.0.0.1:${free.port}` })
    free.release()
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    expect(String(error)).toMatch(/\(REDIS_URL\) .* connect ECONNREFUSED/)
    expect(ms).toBeLessThan(connectTimeoutMs * 1.1)
  })

  it('rejects within connectTimeoutMs, with the reason, when nobody answers', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    proxy.blackhole()
    const { error, ms } = await rejection({ REDIS_URL: `redis://127.0.0.1:${proxy.port}` })
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    expect(String(error)).toMatch(/\(REDIS_URL\) .* does not answer/)
    expect(ms).toBeLessThan(connectTimeoutMs * 1.1)
  })

  it('refuses a WORKER_ID that is no number, when an id is asked for', async () => {
    await using server = await startRedis()
    await using cluster = await create({ CLUSTER_NAME: 'shop', REDIS_URL: server.url, WORKER_ID: 'three' })
    await expect(cluster.workerIds.acquire()).rejects.toMatchObject({ code: 'MISCONFIGURED' })
    expect(await server.cli('KEYS', '*')).toEqual([])
  })
})
