import { inspect } from 'node:util'
import { type Cluster, createCluster } from '@multinode/core'
import {
  claimPort,
  serversAvailable,
  spawnNode,
  startRedis,
  tcpProxy,
  waitUntil,
  withOwnLateness,
} from '@multinode/testbed'
import { beforeAll, describe, expect, it } from 'vitest'

/** Of those that cannot connect: a twentieth of it is for being late with the reason. */
const connectTimeoutMs = 5_000
const patientMs = 10_000
const atOnceMs = 1_500

function create(env: Record<string, string>, connectTimeoutMs = patientMs): Promise<Cluster> {
  return createCluster({ env, capabilities: ['lock'], resolveFrom: import.meta.url, connectTimeoutMs })
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

describe.skipIf(!serversAvailable()).concurrent('createCluster with the lock on Redis', () => {
  // What is loaded once takes nothing of the time of those that have little.
  beforeAll(async () => {
    await using server = await startRedis()
    await using _loaded = await create({ CLUSTER_NAME: 'shop', REDIS_URL: server.url })
  })

  it.each([
    [{ LOCK_ADAPTER: 'redis' }, 'LOCK_ADAPTER=redis', 'LOCK_ADAPTER_REDIS_URL'],
    [{ LOCK_ADAPTER: '@multinode/lock-redis' }, 'LOCK_ADAPTER=@multinode/lock-redis', 'REDIS_URL'],
    [{ CLUSTER_ADAPTER: 'redis' }, 'CLUSTER_ADAPTER=redis', 'REDIS_URL'],
    [{}, 'LOCK_ADAPTER_REDIS_URL', 'LOCK_ADAPTER_REDIS_URL'],
  ])('is set up by %o, and describes what it took and from where', async (env, because, variable) => {
    await using server = await startRedis({ password: 's3cr3t' })
    await using cluster = await create({ CLUSTER_NAME: 'shop', ...env, [variable]: server.url })
    const description = cluster.describe()
    expect(description.capabilities).toEqual([
      {
        capability: 'lock',
        backend: 'redis',
        from: '@multinode/lock-redis',
        address: `redis://:***@127.0.0.1:${server.port}/0`,
        addressFrom: variable,
        because: expect.stringContaining(because),
        features: { scope: 'cluster', order: 'fifo' },
        notes: [],
      },
    ])
    expect(description.warnings).toEqual([])
    expect(inspect(description, { depth: 10 })).not.toContain('s3cr3t')
    expect(await cluster.locks.run('key', (lease) => lease.held)).toBe(true)
    expect(await server.cli('KEYS', '*')).toEqual(['{shop:lock:key}:token'])
  })

  it('refuses a wrong password at once', async () => {
    await using server = await startRedis({ password: 's3cr3t' })
    const url = server.url.replace('s3cr3t', 'wr0ng')
    const { error, ms } = await rejection({ LOCK_ADAPTER: 'redis', LOCK_ADAPTER_REDIS_URL: url })
    expect(error).toMatchObject({ code: 'MISCONFIGURED' })
    expect(String(error)).toContain('LOCK_ADAPTER_REDIS_URL')
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('wr0ng')
    expect(ms).toBeLessThan(atOnceMs)
  })

  it.each([
    ['redis://:wr0ng@localhost:port', 'is no host with a port'],
    ['redis://:x@wr0ng/@localhost', '%2F'],
    ['http://ann:wr0ng@localhost', 'the scheme http://'],
  ])('refuses the malformed address %s at once, masked', async (url, reason) => {
    const { error, ms } = await rejection({ CLUSTER_ADAPTER: 'redis', REDIS_URL: url })
    expect(error).toMatchObject({ code: 'MISCONFIGURED' })
    expect(String(error)).toContain('REDIS_URL=')
    expect(String(error)).toContain(reason)
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('wr0ng')
    expect(ms).toBeLessThan(atOnceMs)
  })

  it('rejects within connectTimeoutMs, with the reason, when nobody listens', async () => {
    const free = await claimPort()
    const { error, ms } = await rejection({
      LOCK_ADAPTER: 'redis',
      REDIS_URL: `redis://127.0.0.1:${free.port}`,
    })
    free.release()
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    expect(String(error)).toMatch(/\(REDIS_URL\) .* connect ECONNREFUSED/)
    expect(ms).toBeLessThan(connectTimeoutMs * 1.1)
  })

  it('rejects within connectTimeoutMs, with the reason, when nobody answers', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    proxy.blackhole()
    const { error, ms } = await rejection({
      LOCK_ADAPTER: 'redis',
      REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
    })
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    expect(String(error)).toMatch(/\(REDIS_URL\) .* does not answer/)
    expect(ms).toBeLessThan(connectTimeoutMs * 1.1)
  })

  describe.concurrent('health', () => {
    const status = (cluster: Cluster): string | undefined => cluster.health().capabilities.lock?.status

    it('goes down while the server is frozen, and comes back', { timeout: 40_000 }, async () => {
      await using server = await startRedis()
      await using cluster = await create({
        CLUSTER_NAME: 'shop',
        LOCK_ADAPTER: 'redis',
        REDIS_URL: server.url,
      })
      expect(status(cluster)).toBe('ok')
      await server.pause()
      await waitUntil('down', () => status(cluster) === 'down', { deadlineMs: 15_000 })
      expect(cluster.health()).toMatchObject({ state: 'running', status: 'down' })
      expect(cluster.health().capabilities.lock?.lastError).toContain('PING')
      server.resume()
      await waitUntil('up', () => status(cluster) === 'ok', { deadlineMs: 15_000 })
    })

    it('goes down while the server is away, says why, and comes back', { timeout: 40_000 }, async () => {
      await using server = await startRedis()
      await using cluster = await create({
        CLUSTER_NAME: 'shop',
        LOCK_ADAPTER: 'redis',
        REDIS_URL: server.url,
      })
      await server.kill()
      await waitUntil('down', () => status(cluster) === 'down', { deadlineMs: 15_000 })
      await waitUntil('the reason', () =>
        cluster.health().capabilities.lock?.lastError?.includes('ECONNREFUSED'),
      )
      await server.restart()
      await waitUntil('up', () => status(cluster) === 'ok', { deadlineMs: 15_000 })
      expect(await cluster.locks.run('key', (lease) => lease.held)).toBe(true)
    })
  })

  describe.concurrent('close', () => {
    it.each([
      ['answers', 'nobody', 500, () => {}],
      ['answers', 'CLOSED', 500, () => {}],
      ['is gone', 'nobody', 500, (server: Server) => server.kill()],
      ['is gone', 'CLOSED', 500, (server: Server) => server.kill()],
      ['is frozen', 'nobody', 500, (server: Server) => server.pause()],
      // To take back the wait at the server takes one call's deadline, which the closer sets to 1 s.
      ['is frozen', 'CLOSED', 1_500, (server: Server) => server.pause()],
    ])('is quick when the server %s (waiter: %s), then the process ends', async (_, waiter, ms, fault) => {
      await using server = await startRedis()
      const env = { CLUSTER_NAME: 'shop', LOCK_ADAPTER: 'redis', REDIS_URL: server.url }
      const WAIT = waiter === 'CLOSED' ? 'yes' : 'no'
      const file = new URL('./fixtures/closer.ts', import.meta.url)
      await using closer = await spawnNode(file, { env: { ...env, WAIT } })
      await closer.nextLine('ready')
      await fault(server)
      closer.send('close')
      const [, closedAfterMs, end] = (await closer.nextLine('closed')).split(' ')
      expect(end).toBe(waiter)
      expect(Number(closedAfterMs)).toBeLessThan(ms)
      const [, endedAfterMs] = (await closer.nextLine('ended')).split(' ')
      expect(Number(endedAfterMs)).toBeLessThan(500)
      expect(await closer.exited).toEqual({ code: 0, signal: null })
    })
  })
})

type Server = Awaited<ReturnType<typeof startRedis>>
