import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  tcpProxy,
  waitUntil,
  Wire,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { node } from './node.ts'

const minuteMs = 60_000

interface Place extends AsyncDisposable {
  readonly url: string
  readonly nodes: readonly RedisServer[]
}

async function startSingle(): Promise<Place> {
  const server = await startRedis()
  return { url: server.url, nodes: [server], [Symbol.asyncDispose]: () => server.stop() }
}

describe.skipIf(!serversAvailable()).each([
  ['a single server', startSingle],
  ['a Cluster', startCluster],
])('on %s', async (_, start: () => Promise<Place>) => {
  const place = await start()
  afterAll(() => place[Symbol.asyncDispose]())

  it('an acquisition and its release are two EVALSHA, and nothing else is sent', async () => {
    await using here = await node(place.url, { clusterName: 'shop' })
    await using there = await node(place.url, { clusterName: 'shop' })
    const keys = Array.from({ length: 20 }, (unused, index) => `key-${index}`)
    // Connects to each server, and loads the scripts there.
    for (const key of keys) await here.locks.run(key, () => key)
    using wire = await Wire.tap(...place.nodes)
    const sent = await wire.namesDuring(async () => {
      for (const key of keys) {
        await (await here.locks.acquire(key)).release()
        await here.locks.run(key, () => key)
      }
    })
    expect(sent).toEqual(keys.flatMap(() => ['evalsha', 'evalsha', 'evalsha', 'evalsha']))
    const contended = await wire.namesDuring(async () => {
      const lease = await here.locks.acquire('key-0')
      await expect(there.locks.acquire('key-0', { waitMs: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' })
      await lease.release()
    })
    expect(contended.length, 'the control: where somebody waits it is more').toBeGreaterThan(4)
  })

  it('a release after the expiry is one EVALSHA, and says so', async () => {
    await using one = await node(place.url, { clusterName: 'shop' })
    await one.locks.run('key', () => undefined)
    using wire = await Wire.tap(...place.nodes)
    const lease = await one.locks.acquire('key', { ttlMs: 20 })
    const exists = async (server: RedisServer): Promise<boolean> =>
      String(await server.cli('KEYS', '*:lease')) !== ''
    await waitUntil('the expiry', async () => !(await Promise.all(place.nodes.map(exists))).includes(true))
    const replies: unknown[] = []
    const sent = await wire.namesDuring(async () =>
      replies.push(await lease.release(), await lease.release()),
    )
    expect(sent).toEqual(['evalsha'])
    expect(replies).toEqual(['expired', 'expired'])
  })
})

describe.skipIf(!serversAvailable())('on a server', () => {
  it('each script is loaded once, by its first use', async () => {
    await using server = await startRedis()
    await using one = await node(server.url, { clusterName: 'shop' })
    using wire = await Wire.tap(server)
    const sent = await wire.namesDuring(async () => {
      for (let round = 0; round < 3; round += 1) await one.locks.run('key', () => round)
    })
    const loading = ['evalsha', 'eval', 'evalsha', 'eval']
    expect(sent).toEqual([...loading, 'evalsha', 'evalsha', 'evalsha', 'evalsha'])
  })

  it('run keeps its result when its lease ends on the way of the release, which says so in one EVALSHA', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    const reported: unknown[] = []
    const report = (error: unknown): unknown => reported.push(error)
    await using one = await node(`redis://127.0.0.1:${proxy.port}`, { clusterName: 'shop', report })
    using wire = await Wire.tap(server)
    await one.locks.run('key', () => undefined)
    // So long that its grant is in time: a late one would be asked for again.
    const ttlMs = 1_500
    let result = ''
    const sent = await wire.namesDuring(async () => {
      result = await one.locks.run(
        'key',
        (lease) => {
          proxy.delay(ttlMs + 100)
          return `done as ${lease.token}`
        },
        { ttlMs },
      )
    })
    expect(result).toBe(`done as ${String(await server.cli('GET', '{shop:lock:key}:token'))}`)
    expect(sent).toEqual(['evalsha', 'evalsha'])
    expect(reported).toEqual([])
    expect(one.locks.stats(), 'one was given back in time').toMatchObject({ acquired: 2, released: 1 })
  })

  it('a release after the expiry leaves the successor alone, where a bare DEL ends its lock', async () => {
    await using server = await startRedis()
    await using here = await node(server.url, { clusterName: 'shop' })
    await using there = await node(server.url, { clusterName: 'shop' })
    const bare = new Redis(server.url)
    const expired = await here.locks.acquire('key', { ttlMs: 20 })
    await bare.set('bare', 'here', 'PX', 20, 'NX')
    await using successor = await there.locks.acquire('key', { ttlMs: minuteMs })
    await waitUntil('the expiry', async () => await bare.set('bare', 'there', 'PX', minuteMs, 'NX'))
    expect(await expired.release()).toBe('not-owner')
    await bare.del('bare')
    expect(await here.locks.tryAcquire('key')).toBeNull()
    successor.assertHeld()
    expect(await bare.exists('bare'), 'the control').toBe(0)
    bare.disconnect()
  })
})
