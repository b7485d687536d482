import { figure, serversAvailable, startRedis, tcpProxy, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { callMs, longMs, node, range } from './node.ts'

const count = figure({ slice: 300, full: 1_000 })
const keys = range(count).map((index) => `key ${index}`)

describe.skipIf(!serversAvailable())(`${count} deletes while Redis is away`, () => {
  it('are said before this node reads from it again, and then nobody reads what was there', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    await using one = await node(`redis://127.0.0.1:${proxy.port}`)
    await using two = await node(server.url)
    const options = { ttlMs: longMs, l1: false, timeoutMs: 2_000 } as const
    const here = one.cache.namespace<string>('things', options)
    const there = two.cache.namespace<string>('things', { ...options, timeoutMs: callMs })
    expect(await there.setMany([...keys, 'stays'].map((key) => ({ key, value: 'old' })))).toBe('done')
    proxy.refuse()
    proxy.reset()
    const results = await Promise.all(keys.map((key) => here.delete(key)))
    expect(new Set(results)).toEqual(new Set(['deferred']))
    expect(
      (await there.getMany(keys))?.every((value) => value === 'old'),
      'elsewhere it is there',
    ).toBe(true)
    proxy.heal()
    const seen = new Set<string | undefined>()
    await waitUntil('Redis to be used again', async () => {
      for (const value of (await here.getMany(keys)) ?? []) seen.add(value)
      return (await here.get('stays')) === 'old'
    })
    expect([...seen]).toEqual([undefined])
    expect((await there.getMany(keys))?.every((value) => value === undefined)).toBe(true)
    expect(one.cache.stats()).toMatchObject({ waiting: 0, replayed: count })
  })

  it('are forgotten by a client that fails, and what was there is read again, the control', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    const bare = new Redis({ port: proxy.port, enableOfflineQueue: false, maxRetriesPerRequest: 0 })
    bare.on('error', () => {})
    await waitUntil('the connection', () => bare.status === 'ready')
    for (const key of keys) await bare.set(key, 'old')
    proxy.refuse()
    proxy.reset()
    const results = await Promise.allSettled(keys.map((key) => bare.del(key)))
    expect(results.every(({ status }) => status === 'rejected')).toBe(true)
    proxy.heal()
    await waitUntil('the connection', () => bare.status === 'ready')
    const left = await bare.mget(keys)
    expect(left.filter((value) => value === 'old').length).toBe(count)
    bare.disconnect()
  })
})
