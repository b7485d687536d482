import type { Lease } from '@multinode/core'
import {
  serversAvailable,
  spawnNode,
  startCluster,
  startRedis,
  type TcpProxy,
  tcpProxy,
  waitUntil,
  withLateness,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { claimMs } from '../src/lock-server.ts'
import { releaseLua } from '../src/release.lua.ts'
import { type Node, node } from './node.ts'

const leaseKey = '{shop:lock:key}:lease'
const queueKey = '{shop:lock:key}:queue'
const waitersKey = '{shop:lock:key}:waiters'
const minuteMs = 60_000
const pollMs = 5_000
const callMs = 10_000
/** How much longer than it was told a waiter may pause. */
const jitter = 1.1
const kill = ['CLIENT', 'KILL', 'TYPE', 'pubsub'] as const

describe.skipIf(!serversAvailable()).concurrent('the connection by which waiters are told', () => {
  it('is killed with the push on it: they ask as soon as it is back, and are told again', async () => {
    await using place = await Place.start()
    const first = await place.waiter()
    await place.untilLive(true)
    expect(await place.releaseAfter(kill)).toBe(1)
    const told = await first.served()
    expect(told.afterMs).toBeLessThan(pollMs / 2 + told.lateMs)
    const second = await place.waiter()
    await place.untilLive(true)
    await place.releaseAfter(['PING'])
    const toldAgain = await second.served()
    expect(toldAgain.afterMs).toBeLessThan(1_000 + toldAgain.lateMs)
    expect(await place.keys()).toEqual(['{shop:lock:key}:token'])
  })

  it('cannot come back: they ask for themselves within 5 s, and are told again once it can', async () => {
    await using place = await Place.start()
    const first = await place.waiter()
    await place.untilLive(true)
    place.proxy.refuse()
    expect(await place.releaseAfter(kill)).toBe(1)
    const untold = await first.served()
    expect(untold.afterMs, 'the control: nobody told it').toBeGreaterThan(1_000)
    // The room is for a machine that is busy.
    expect(untold.afterMs).toBeLessThan(jitter * pollMs + 1_000 + untold.lateMs)
    place.proxy.heal()
    const second = await place.waiter()
    await place.untilLive(true)
    await place.releaseAfter(['PING'])
    const toldAgain = await second.served()
    expect(toldAgain.afterMs).toBeLessThan(1_000 + toldAgain.lateMs)
    expect(await place.keys()).toEqual(['{shop:lock:key}:token'])
  })

  it('is away: those who come now ask again soon', async () => {
    await using place = await Place.start()
    const first = await place.waiter()
    await place.untilLive(true)
    place.proxy.refuse()
    await place.releaseAfter(kill)
    await first.served()
    await place.untilLive(false)
    const second = await place.waiter()
    await place.releaseAfter(['PING'])
    const toldAgain = await second.served()
    expect(toldAgain.afterMs).toBeLessThan(1_000 + toldAgain.lateMs)
  })

  it('comes back just when the node is closed: that is no error', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    const reported: unknown[] = []
    const report = (error: unknown): unknown => reported.push(error)
    await using one = await node(`redis://127.0.0.1:${proxy.port}`, { clusterName: 'shop', report })
    const request = { key: 'key', ttlMs: minuteMs, waitMs: minuteMs }
    for (const owner of ['holder', 'waiter']) await one.driver.acquire({ ...request, owner }, callMs)
    const isSubscribed = async (): Promise<boolean> => String(await server.cli('PUBSUB', 'CHANNELS')) !== ''
    await waitUntil('the subscription', isSubscribed)
    // The second one is answered only after the close.
    proxy.delay(500)
    await server.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await waitUntil('the end of it', async () => !(await isSubscribed()), { everyMs: 2 })
    await waitUntil('the next one', isSubscribed, { everyMs: 5 })
    await one.driver.close()
    expect(reported).toEqual([])
  })

  it('may not subscribe: they ask for themselves, and it is one connection however often they do', async () => {
    await using server = await startRedis()
    await server.cli('ACL', 'SETUSER', 'app', 'on', '>of-app', '~*', '&*', '+@all', '-subscribe')
    const reported: unknown[] = []
    const report = (error: unknown): unknown => reported.push(error)
    const one = await node(server.url.replace('//', '//app:of-app@'), { clusterName: 'shop', report })
    const connections = async (): Promise<number> =>
      String(await server.cli('CLIENT', 'LIST')).match(/ user=app /g)?.length ?? 0
    const held = await one.locks.acquire('key', { ttlMs: minuteMs })
    const granted = one.locks.acquire('key', { ttlMs: minuteMs, waitMs: minuteMs })
    await waitUntil('it to be tried twice', () => reported.length >= 2)
    for (const error of reported) {
      expect(error).toMatchObject({ code: 'MISCONFIGURED', message: expect.stringContaining('NOPERM') })
    }
    expect(await connections()).toBe(2)
    await held.release()
    await (await granted).release()
    await one[Symbol.asyncDispose]()
    await waitUntil('all to be closed', async () => (await connections()) === 0)
  })

  it('may not subscribe again on a Cluster, which ioredis does by itself: that is told, and they are told again once it may', async () => {
    await using cluster = await startCluster()
    const onAll = (...command: [string, ...string[]]): Promise<unknown> =>
      Promise.all(cluster.nodes.map((each) => each.cli(...command)))
    await onAll('ACL', 'SETUSER', 'app', 'on', '>of-app', '~*', '&*', '+@all')
    const reported: unknown[] = []
    const report = (error: unknown): unknown => reported.push(error)
    const url = cluster.url.replace('//', '//app:of-app@')
    await using one = await node(url, { clusterName: 'shop', report })
    const isSubscribed = async (): Promise<boolean> =>
      String(await onAll('PUBSUB', 'CHANNELS')).includes('wake')
    const held = await one.locks.acquire('key', { ttlMs: minuteMs })
    const granted = one.locks.acquire('key', { ttlMs: minuteMs, waitMs: minuteMs })
    await waitUntil('the subscription', isSubscribed)
    await onAll('ACL', 'SETUSER', 'app', '-subscribe')
    await onAll(...kill)
    // A try that comes just when the connection is made anew fails for that.
    await waitUntil('it to be told', () => /NOPERM.*subscribe/.test(String(reported)))
    expect(await isSubscribed()).toBe(false)
    await onAll('ACL', 'SETUSER', 'app', '+subscribe')
    await waitUntil('the next subscription', isSubscribed)
    await held.release()
    await (await granted).release()
  })

  it.each(['there', 'cut off and coming back', 'cut off for good'])(
    'is %s when the node is closed: the process ends',
    async (how) => {
      await using server = await startRedis()
      await using proxy = await tcpProxy(server.port)
      const url = `redis://127.0.0.1:${proxy.port}`
      const env = { CLUSTER_NAME: 'shop', LOCK_ADAPTER: 'redis', REDIS_URL: url, WAIT: 'yes' }
      await using closer = await spawnNode(new URL('./fixtures/closer.ts', import.meta.url), { env })
      await closer.nextLine('ready')
      await waitUntil('the subscription', async () => String(await server.cli('PUBSUB', 'CHANNELS')) !== '')
      proxy.refuse(how === 'cut off for good')
      if (how !== 'there') await server.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
      closer.send('close')
      expect(await closer.nextLine('closed')).toContain('CLOSED')
      const [, endedAfterMs] = (await closer.nextLine('ended')).split(' ')
      expect(Number(endedAfterMs)).toBeLessThan(500)
      expect(await closer.exited).toEqual({ code: 0, signal: null })
    },
  )
})

interface Service {
  readonly afterMs: number
  /** How late this process and the server were at once, at the most: only what it is told, or a single timer, is waited for. */
  readonly lateMs: number
}

/** Two nodes, of which one waits for what the other one has, and talks to the server through a proxy. */
class Place implements AsyncDisposable {
  readonly proxy: TcpProxy
  readonly #here: Node
  readonly #there: Node
  readonly #admin: Redis
  readonly #stack: AsyncDisposableStack

  private constructor(parts: {
    proxy: TcpProxy
    here: Node
    there: Node
    admin: Redis
    stack: AsyncDisposableStack
  }) {
    this.proxy = parts.proxy
    this.#here = parts.here
    this.#there = parts.there
    this.#admin = parts.admin
    this.#stack = parts.stack
  }

  static async start(): Promise<Place> {
    await using stack = new AsyncDisposableStack()
    const server = stack.use(await startRedis())
    const proxy = stack.use(await tcpProxy(server.port))
    const admin = stack.adopt(new Redis(server.url), async (client) => client.disconnect())
    const quiet = { clusterName: 'shop', report: () => {} }
    const here = stack.use(await node(server.url, quiet))
    const there = stack.use(await node(`redis://127.0.0.1:${proxy.port}`, quiet))
    return new Place({ proxy, here, there, admin, stack: stack.move() })
  }

  /** One in the queue for what the other node holds. */
  async waiter(): Promise<{ served: () => Promise<Service> }> {
    await this.#here.locks.acquire('key', { ttlMs: minuteMs })
    const granted = this.#there.locks.acquire('key', { ttlMs: minuteMs, waitMs: minuteMs })
    await waitUntil('it to wait', async () => (await this.#admin.zcard(queueKey)) === 1)
    return { served: () => this.#served(granted) }
  }

  async #served(granted: Promise<Lease>): Promise<Service> {
    const { result, mostMs } = await withLateness(
      async () => this.#admin.ping(),
      async () => {
        const startedAt = performance.now()
        const lease = await granted
        return { lease, afterMs: performance.now() - startedAt }
      },
    )
    await result.lease.release()
    return { afterMs: result.afterMs, lateMs: mostMs }
  }

  /** Waits until those who wait rely on being told, or know that they are not told. */
  async untilLive(isLive: boolean): Promise<void> {
    const request = { key: 'probed', ttlMs: minuteMs, waitMs: 0 }
    await this.#here.driver.acquire({ ...request, owner: 'holder' }, callMs)
    await waitUntil(isLive ? 'the channel' : 'the end of the channel', async () => {
      const reply = await this.#there.driver.acquire({ ...request, owner: 'probe' }, callMs)
      return reply.status === 'busy' && reply.retryAfterMs > 100 === isLive
    })
    // When the channel came, they asked once more: those answers come before these.
    for (let ping = 0; ping < 3; ping += 1) await this.#there.driver.ping(callMs)
    await this.#here.driver.release('probed', 'holder', callMs)
  }

  /** In one step, so that the push cannot come in between. */
  async releaseAfter([name, ...words]: readonly [string, ...string[]]): Promise<unknown> {
    const owner = (await this.#admin.hget(leaseKey, 'owner')) ?? ''
    const results = await this.#admin
      .multi()
      .call(name, ...words)
      .eval(releaseLua, 3, leaseKey, queueKey, waitersKey, owner, 'shop:lock:wake:', claimMs)
      .exec()
    return results?.[0]?.[1]
  }

  keys(): Promise<string[]> {
    return this.#admin.keys('{shop:lock:key}:*')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}
