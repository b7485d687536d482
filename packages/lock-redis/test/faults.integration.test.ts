import { type RedisServer, serversAvailable, startRedis, tcpProxy, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { node } from './node.ts'

/** What a cancel or a release that the fault hits reports is no news here. */
const quiet = { clusterName: 'shop', report: () => {} }

describe.skipIf(!serversAvailable()).concurrent('the lock on Redis under faults', async () => {
  const servers: RedisServer[] = []
  afterAll(() => Promise.all(servers.map((server) => server.stop())))

  /** One for each test, since they run at the same time. */
  async function startServer(): Promise<{ server: RedisServer; admin: Redis & AsyncDisposable }> {
    const server = await startRedis()
    servers.push(server)
    const admin = new Redis(server.url)
    return { server, admin: Object.assign(admin, { [Symbol.asyncDispose]: async () => admin.disconnect() }) }
  }

  it('grants once, with one token, when the answer to an acquire is lost: 50 times', async () => {
    const { server, admin } = await startServer()
    await using _ = admin
    await using proxy = await tcpProxy(server.port)
    await using one = await node(`redis://127.0.0.1:${proxy.port}`, quiet)
    await (await one.locks.acquire('warm-up')).release()
    await admin.config('RESETSTAT')
    for (let round = 0; round < 50; round += 1) {
      const key = `key-${round}`
      proxy.dropReply()
      const lease = await one.locks.acquire(key, { waitMs: 10_000 })
      lease.assertHeld()
      expect(await admin.hget(`{shop:lock:${key}}:lease`, 'token')).toBe(String(lease.token))
      expect(await admin.get(`{shop:lock:${key}}:token`)).toBe(String(lease.token))
      expect(await lease.release()).toBe('released')
    }
    // A token is stored by SET, once a grant; what the losses added is EVALSHA alone.
    expect(await calls(admin, 'set')).toBe(50)
    expect(await calls(admin, 'evalsha')).toBeGreaterThanOrEqual(150)
  })

  it('leaves no lease behind when the answer is lost together with the connection: 50 times', async () => {
    const { server, admin } = await startServer()
    await using _ = admin
    await using proxy = await tcpProxy(server.port)
    await using one = await node(`redis://127.0.0.1:${proxy.port}`, quiet)
    await (await one.locks.acquire('warm-up')).release()
    for (let round = 0; round < 50; round += 1) {
      proxy.dropReply()
      await expect(one.locks.tryAcquire(`key-${round}`)).rejects.toMatchObject({ outcome: 'unknown' })
      // The control: this is what the lost answer was about, and what would stay for the whole ttl.
      expect(await admin.get(`{shop:lock:key-${round}}:token`)).not.toBeNull()
      await waitUntil('the cancel', async () => (await admin.keys('*:lease')).length === 0)
      await waitUntil('the connection', async () => one.driver.ping(1_000).then(() => true))
    }
  })

  it('leaves no lease behind when the connection breaks as `run` gives it back: 20 times', async () => {
    const { server, admin } = await startServer()
    await using _ = admin
    await using proxy = await tcpProxy(server.port)
    await using one = await node(`redis://127.0.0.1:${proxy.port}`, { clusterName: 'shop' })
    for (let round = 0; round < 20; round += 1) {
      await one.locks.run(`key-${round}`, () => proxy.reset())
      expect(await admin.keys('*:lease')).toEqual([])
    }
  })

  it('leaves no lease behind when an answer came too late: 50 at once', async () => {
    const { server, admin } = await startServer()
    await using _ = admin
    await using proxy = await tcpProxy(server.port)
    const url = `redis://127.0.0.1:${proxy.port}`
    await using one = await node(url, { ...quiet, callTimeoutMs: 200 })
    await (await one.locks.acquire('warm-up')).release()
    await one.driver.cancel('warm-up', 'nobody', 1_000)
    const bare = new Redis(proxy.port, { commandTimeout: 200 })
    await bare.ping()
    await admin.config('RESETSTAT')
    proxy.delay(300)
    const tries = Array.from({ length: 50 }, (unused, index) => one.locks.tryAcquire(`key-${index}`))
    const bareTry = bare.set('bare', 'mine', 'PX', 30_000, 'NX')
    for (const outcome of await Promise.allSettled([...tries, bareTry])) {
      expect(outcome).toMatchObject({ status: 'rejected' })
    }
    await expect(tries[0]).rejects.toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
    await waitUntil('all to be granted and cancelled', async () => (await calls(admin, 'evalsha')) >= 100)
    expect(await calls(admin, 'hset')).toBe(50)
    expect(await admin.keys('*:lease')).toEqual([])
    expect(await admin.get('bare'), 'the control').toBe('mine')
    bare.disconnect()
  })

  it('leaves no lease behind when a wait is aborted while the server is silent', async () => {
    const { server, admin } = await startServer()
    await using _ = admin
    await using one = await node(server.url, quiet)
    await (await one.locks.acquire('warm-up')).release()
    await admin.config('RESETSTAT')
    await server.pause()
    const abort = new AbortController()
    const waiting = one.locks.acquire('key', { waitMs: 60_000, signal: abort.signal })
    const abandoned = one.driver.acquire({ key: 'bare', owner: 'a', ttlMs: 30_000, waitMs: 0 }, 50)
    await expect(abandoned).rejects.toMatchObject({ code: 'TIMEOUT' })
    abort.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' })
    expect(one.locks.stats()).toMatchObject({ waiting: 0, held: 0 })
    server.resume()
    await waitUntil('the cancel', async () => (await admin.keys('{shop:lock:key}:cancelled:*')).length === 1)
    expect(await calls(admin, 'hset'), 'it had been granted').toBe(2)
    expect(await admin.keys('*:lease'), 'the control: nobody cancelled this one').toEqual([
      '{shop:lock:bare}:lease',
    ])
  })

  it('run keeps its lock by renewal while its connection is killed again and again', async () => {
    const { server, admin } = await startServer()
    await using _ = admin
    const ttlMs = 1_500
    await using one = await node(server.url, quiet)
    const alone = await one.locks.acquire('not renewed', { ttlMs })
    const endsAt = (): Promise<number> => admin.pexpiretime('{shop:lock:key}:lease')
    await one.locks.run(
      'key',
      async (lease) => {
        for (let round = 0; round < 4; round += 1) {
          const before = await endsAt()
          expect(await admin.call('CLIENT', 'KILL', 'TYPE', 'normal')).toBe(1)
          await waitUntil('a renewal', async () => (await endsAt()) > before)
          lease.assertHeld()
        }
      },
      { ttlMs },
    )
    expect(await admin.exists('{shop:lock:key}:lease')).toBe(0)
    expect(alone.held, 'the control').toBe(false)
  })

  it.each([1, 2, 3])('a lease is lost before the frozen server could end it (round %i)', async () => {
    const { server, admin } = await startServer()
    await using _ = admin
    await using one = await node(server.url, quiet)
    const ttlMs = 2_000
    const running = one.locks.run(
      'key',
      async (lease) => {
        const answeredAt = Date.now()
        const lostAt = moment(lease.signal)
        // How late timers fire on this machine right now: one of nobody's, for the same moment.
        const dueAt = answeredAt + lease.remainingMs()
        const timerAt = new Promise<number>((resolve) => {
          setTimeout(() => resolve(Date.now()), lease.remainingMs())
        })
        const expiresAt = await admin.pexpiretime('{shop:lock:key}:lease')
        await server.pause()
        const lateMs = Math.max(0, (await timerAt) - dueAt)
        const afterMs = (await lostAt) - dueAt
        server.resume()
        expect(afterMs).toBeLessThan(50 + lateMs)
        expect(dueAt + afterMs - lateMs).toBeLessThan(expiresAt)
        expect(lease.held).toBe(false)
        expect(answeredAt + ttlMs, 'the control: to count from the answer').toBeGreaterThanOrEqual(expiresAt)
      },
      { ttlMs },
    )
    await expect(running).rejects.toMatchObject({ code: 'LOST' })
  })
})

function moment(signal: AbortSignal): Promise<number> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(Date.now()), { once: true })
  })
}

async function calls(admin: Redis, name: string): Promise<number> {
  const stats = await admin.info('commandstats')
  return Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
}
