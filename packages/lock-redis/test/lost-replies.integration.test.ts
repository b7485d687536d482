import { isMultinodeError } from '@multinode/core'
import {
  figure,
  type RedisServer,
  serversAvailable,
  startRedis,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { node } from './node.ts'

/** What a cancel or a release that the fault hits reports is no news here. */
const quiet = { clusterName: 'shop', report: () => {} }

describe.skipIf(!serversAvailable()).concurrent('an acquisition whose answer is lost', () => {
  const times = figure({ slice: 50, full: 1_000 })
  const timeout = 600_000

  it(`is answered with the same grant when it is tried again: ${times} times`, { timeout }, async () => {
    await using place = await startPlace()
    const { proxy, admin } = place
    await using one = await node(place.url, quiet)
    await (await one.locks.acquire('warm-up')).release()
    await admin.config('RESETSTAT')
    for (let round = 0; round < times; round += 1) {
      const key = `key-${round}`
      proxy.dropReply()
      const lease = await one.locks.acquire(key, { waitMs: 10_000 })
      lease.assertHeld()
      expect(await admin.hget(`{shop:lock:${key}}:lease`, 'token')).toBe(String(lease.token))
      expect(await admin.get(`{shop:lock:${key}}:token`)).toBe(String(lease.token))
      expect(await lease.release()).toBe('released')
    }
    // A token is stored by SET, once a grant; what the losses added is EVALSHA alone.
    expect(await calls(admin, 'set')).toBe(times)
    expect(await calls(admin, 'evalsha')).toBeGreaterThanOrEqual(3 * times)
    expect(await remains(admin)).toEqual([])
  })

  it('the control: SET NX PX that is tried again has locked itself out', async () => {
    await using place = await startPlace()
    const bare = bareClient(place.proxy.port)
    for (let round = 0; round < 5; round += 1) {
      const take = (): Promise<'OK' | null> => bare.set(`key-${round}`, 'mine', 'PX', 60_000, 'NX')
      await bare.ping()
      place.proxy.dropReply()
      // ioredis tries again by itself.
      expect(await take()).toBeNull()
      expect(await place.admin.get(`key-${round}`)).toBe('mine')
    }
    bare.disconnect()
  })

  it(
    `leaves no lease behind when it is given up, and the connection is lost as well: ${times} times`,
    { timeout },
    async () => {
      await using place = await startPlace()
      const { proxy, admin } = place
      await using one = await node(place.url, quiet)
      await (await one.locks.acquire('warm-up')).release()
      for (let round = 0; round < times; round += 1) {
        proxy.dropReply()
        await expect(one.locks.tryAcquire(`key-${round}`)).rejects.toMatchObject({ outcome: 'unknown' })
        // The control: this is what the lost answer was about, and what would stay for the whole ttl.
        expect(await admin.get(`{shop:lock:key-${round}}:token`)).not.toBeNull()
        await waitUntil(
          'the cancel',
          async () => (await admin.exists(`{shop:lock:key-${round}}:lease`)) === 0,
        )
        await waitUntil('the connection', async () => one.driver.ping(1_000).then(() => true))
      }
      expect(await remains(admin)).toEqual([])
    },
  )
})

describe.skipIf(!serversAvailable()).concurrent('an acquisition whose answer is late', () => {
  const times = figure({ slice: 50, full: 1_000 })
  const timeout = 600_000

  it(`leaves no lease behind when the answer came after the deadline of the call: ${times} at once`, async () => {
    await using place = await startPlace()
    const { proxy, admin } = place
    await using one = await node(place.url, { ...quiet, callTimeoutMs: 400 })
    await (await one.locks.acquire('warm-up')).release()
    await one.driver.cancel('warm-up', 'nobody', 1_000)
    const bare = bareClient(proxy.port, 400)
    await bare.ping()
    await admin.config('RESETSTAT')
    proxy.delay(500)
    const tries = Array.from({ length: times }, (_, index) => one.locks.tryAcquire(`key-${index}`))
    const bareTry = bare.set('bare', 'mine', 'PX', 60_000, 'NX')
    for (const outcome of await Promise.allSettled([...tries, bareTry])) {
      expect(outcome).toMatchObject({ status: 'rejected' })
    }
    await expect(tries[0]).rejects.toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
    await waitUntil(
      'all to be granted and cancelled',
      async () => (await calls(admin, 'evalsha')) >= 2 * times,
    )
    expect(await calls(admin, 'hset')).toBe(times)
    expect(await remains(admin)).toEqual([])
    expect(await admin.get('bare'), 'the control').toBe('mine')
    bare.disconnect()
  })

  it(`is no grant when its time was over before the answer came: ${times} times`, { timeout }, async () => {
    await using place = await startPlace()
    const { proxy, admin } = place
    await using one = await node(place.url, quiet)
    const bare = bareClient(proxy.port)
    await (await one.locks.acquire('warm-up')).release()
    await bare.ping()
    // All that are at once are in one moment: so long that this may be a bad one.
    const ttlMs = 1_000
    const atOnce = 25
    let granted = 0
    let refused = 0
    let believed = 0
    let round = 0
    // Until there was a quick one that was not a bad moment.
    for (; round < times || (granted === 0 && round < 10 * times); round += atOnce) {
      // What was sent slowly would hold up what comes behind it.
      await one.driver.ping(10_000)
      // To and fro: within the ttl, or longer than it.
      const isLate = (round / atOnce) % 2 === 1
      proxy.delay(isLate ? 1.1 * ttlMs : 20)
      const take = async (index: number): Promise<void> => {
        try {
          const lease = await one.locks.tryAcquire(`key-${round + index}`, { ttlMs })
          expect(lease?.remainingMs()).toBeGreaterThan(0)
          granted += 1
        } catch (error) {
          if (!isMultinodeError(error) || error.code !== 'TIMEOUT') throw error
          refused += 1
        }
      }
      const takes = Array.from({ length: atOnce }, (_, index) => take(index))
      const reply = await bare.set(`bare-${round}`, 'mine', 'PX', ttlMs, 'NX')
      if (reply === 'OK' && (await admin.exists(`bare-${round}`)) === 0) believed += 1
      await Promise.all(takes)
    }
    proxy.delay(0)
    expect(granted + refused).toBe(round)
    expect(granted).toBeGreaterThan(0)
    expect(refused).toBeGreaterThanOrEqual(times / 2)
    expect(believed, 'the control: OK for a key that is gone').toBeGreaterThan(0)
    await waitUntil('what was granted to end', async () => (await remains(admin)).length === 0)
    bare.disconnect()
  })

  it('is granted once answers come in time again', async () => {
    await using place = await startPlace()
    const { proxy, admin } = place
    await using one = await node(place.url, quiet)
    await (await one.locks.acquire('warm-up')).release()
    await admin.config('RESETSTAT')
    proxy.delay(150)
    const waiting = one.locks.acquire('key', { ttlMs: 200, waitMs: 30_000 })
    await waitUntil('several grants in vain', async () => (await calls(admin, 'hset')) >= 3)
    proxy.delay(0)
    const lease = await waiting
    expect(lease.remainingMs()).toBeGreaterThan(0)
    await lease.release()
    expect(await remains(admin)).toEqual([])
  })
})

interface Place extends AsyncDisposable {
  readonly server: RedisServer
  readonly proxy: TcpProxy
  /** Through the proxy. */
  readonly url: string
  readonly admin: Redis
}

/** One for each test, since they run at the same time. */
async function startPlace(): Promise<Place> {
  const server = await startRedis()
  const proxy = await tcpProxy(server.port)
  const admin = new Redis(server.url)
  return {
    server,
    proxy,
    url: `redis://127.0.0.1:${proxy.port}`,
    admin,
    async [Symbol.asyncDispose]() {
      admin.disconnect()
      await proxy.close()
      await server.stop()
    },
  }
}

function bareClient(port: number, commandTimeout?: number): Redis {
  const client = new Redis(port, commandTimeout === undefined ? {} : { commandTimeout })
  // Without a listener ioredis prints what the fault does to it.
  client.on('error', () => {})
  return client
}

/** Everything of locks but tokens and tombstones, which end by themselves. */
async function remains(admin: Redis): Promise<string[]> {
  const found: string[] = []
  for await (const keys of admin.scanStream({ match: '{shop:lock:*', count: 1_000 })) {
    for (const key of keys) if (/:(lease|queue|waiters)$/.test(String(key))) found.push(String(key))
  }
  return found
}

async function calls(admin: Redis, name: string): Promise<number> {
  const stats = await admin.info('commandstats')
  return Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
}
