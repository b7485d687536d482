import { inspect } from 'node:util'
import { type Cluster, createCluster } from '@multinode/core'
import { claimPort, serversAvailable, startRedis, withOwnLateness } from '@multinode/testbed'
import { beforeAll, describe, expect, it } from 'vitest'
import { far } from './node.ts'

/** Of those that cannot connect: a twentieth of it is for being late with the reason. */
const connectTimeoutMs = 5_000
const patientMs = 10_000
const atOnceMs = 1_500

function create(env: Record<string, string>, connectTimeoutMs = patientMs): Promise<Cluster> {
  return createCluster({ env, capabilities: ['cache'], resolveFrom: import.meta.url, connectTimeoutMs })
}

/** With the time that it took, less what this process waited for its turn. */
async function rejection(env: Record<string, string>): Promise<{ error: unknown; ms: number }> {
  const startedAt = performance.now()
  const { result: error, sumMs } = await withOwnLateness(() =>
    create(env, connectTimeoutMs).catch((reason: unknown) => reason),
  )
  return { error, ms: performance.now() - startedAt - sumMs }
}

describe.skipIf(!serversAvailable()).concurrent('createCluster with the cache on Redis', () => {
  // What is loaded once takes nothing of the time of those that have little.
  beforeAll(async () => {
    await using server = await startRedis()
    await using _loaded = await create({ CLUSTER_NAME: 'shop', REDIS_URL: server.url })
  })

  it.each([
    [{ CACHE_DEFAULT_STORE: 'redis' }, 'CACHE_DEFAULT_STORE=redis', 'CACHE_REDIS_URL'],
    [{ CACHE_ADAPTER: 'redis' }, 'CACHE_ADAPTER=redis', 'CACHE_ADAPTER_REDIS_URL'],
    [{ CACHE_ADAPTER: '@multinode/cache-redis' }, 'CACHE_ADAPTER=@multinode/cache-redis', 'REDIS_URL'],
    [{ CLUSTER_ADAPTER: 'redis' }, 'CLUSTER_ADAPTER=redis', 'REDIS_URL'],
    [{}, 'CACHE_ADAPTER_REDIS_URL', 'CACHE_ADAPTER_REDIS_URL'],
  ])('is set up by %o, and describes what it took and from where', async (env, because, variable) => {
    await using server = await startRedis({ password: 's3cr3t' })
    await using cluster = await create({ CLUSTER_NAME: 'shop', ...env, [variable]: server.url })
    const description = cluster.describe()
    expect(description.capabilities).toMatchObject([
      {
        capability: 'cache',
        backend: 'redis',
        from: '@multinode/cache-redis',
        address: `redis://:***@127.0.0.1:${server.port}/0`,
        addressFrom: variable,
        because: expect.stringContaining(because),
        features: { scope: 'cluster', forgetsDeletes: true },
      },
    ])
    expect(inspect(description, { depth: 10 })).not.toContain('s3cr3t')
    const things = cluster.cache.namespace<string>('things', far)
    expect(await things.getOrSet('key', () => 'value')).toBe('value')
    expect(await server.cli('KEYS', '*')).toEqual(
      expect.arrayContaining(['{shop:cache:things@:key}:entry', '{shop:cache:things@}:version']),
    )
  })

  it('refuses a wrong password at once', async () => {
    await using server = await startRedis({ password: 's3cr3t' })
    const url = server.url.replace('s3cr3t', 'wr0ng')
    const { error, ms } = await rejection({ CACHE_ADAPTER: 'redis', CACHE_REDIS_URL: url })
    expect(error).toMatchObject({ code: 'MISCONFIGURED' })
    expect(String(error)).toContain('CACHE_REDIS_URL')
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('wr0ng')
    expect(ms).toBeLessThan(atOnceMs)
  })

  it('rejects within connectTimeoutMs, with the reason, when nobody listens', async () => {
    const free = await claimPort()
    const url = `redis://127.0.0.1:${free.port}`
    const { error, ms } = await rejection({ CACHE_ADAPTER: 'redis', REDIS_URL: url })
    free.release()
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    expect(String(error)).toMatch(/\(REDIS_URL\) .* connect ECONNREFUSED/)
    expect(ms).toBeLessThan(connectTimeoutMs * 1.1)
  })
})
