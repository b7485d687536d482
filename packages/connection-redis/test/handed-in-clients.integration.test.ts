import { pluginContext } from '@multinode/core/testing'
import { serversAvailable, waitUntil } from '@multinode/testbed'
import { Cluster, Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { openRedis, type RedisClient } from '../src/index.ts'
import { askerOf, doublesOf, Load, wrongsOf } from './load.ts'
import { callMs } from './open-with.ts'
import { bare, type Proxied, proxiedCluster, proxiedSentinel } from './proxied.ts'
import { settled } from './settled.ts'

/** As the README tells an app to make its own. */
const advised = { enableOfflineQueue: false, maxRetriesPerRequest: 0 }

describe.skipIf(!serversAvailable())('a client of the app', async () => {
  const [sentinel, cluster] = await Promise.all([proxiedSentinel(), proxiedCluster()])
  afterAll(() => Promise.all([sentinel, cluster].map((place) => place[Symbol.asyncDispose]())))
  const sentinels = sentinel.sentinel?.sentinels.map((port) => ({ host: '127.0.0.1', port })) ?? []
  const nodes = cluster.proxies.map(({ port }) => ({ host: '127.0.0.1', port }))

  const ways: [string, Proxied, () => RedisClient][] = [
    ['of Sentinels', sentinel, () => new Redis({ ...advised, sentinels, name: 'mymaster' })],
    ['of a Cluster', cluster, () => new Cluster(nodes, { redisOptions: advised, retryDelayOnFailover: 0 })],
  ]

  it.each(ways)('%s works, is named without secrets and stays open', async (_, place, make) => {
    await using client = bare(make())
    const share = await openRedis({ client: client.redis }, pluginContext())
    const { connection } = share
    expect(connection.client).toBe(client.redis)
    expect(hostsOf(connection.address)).toEqual(hostsOf(place.url))
    expect(await askerOf(connection, callMs).script('handed-in', 'word')).toEqual([1, 'word'])
    await share.release()
    await connection.close()
    expect(client.redis.status).toBe('ready')
    expect(await client.redis.call('ECHO', 'still')).toBe('still')
    for (const master of place.masters) await master.flush()
  })

  it.each(ways)(
    '%s ends our calls at their deadline, where its own wait',
    async (_, { proxies, masters }, make) => {
      await using client = bare(make())
      const { connection } = await openRedis({ client: client.redis }, pluginContext())
      using load = new Load('ours', askerOf(connection, callMs))
      await load.untilItWorks()
      for (const proxy of proxies) proxy.blackhole()
      let ownEnded = false
      void settled(client.redis.call('ECHO', 'own')).then(() => (ownEnded = true))
      await waitUntil('calls to time out', () => load.failed().length > 100)
      expect(ownEnded, 'the control').toBe(false)
      for (const proxy of proxies) proxy.heal()
      await load.untilItWorks()
      expect(await wrongsOf(load, masters, { deadlineMs: callMs })).toEqual([])
    },
  )

  it.each(ways)(
    '%s, made as advised, sends nothing twice',
    async (_, { proxies, masters, bareClient }, make) => {
      await using ours = await startLoad(make)
      await using usual = await startLoad(() => bareClient().redis)
      const untilBothWork = (): Promise<unknown> =>
        Promise.all([ours.load.untilItWorks(), usual.load.untilItWorks()])
      for (const proxy of proxies) proxy.delay(30)
      await untilBothWork()
      for (const proxy of proxies) proxy.reset()
      for (const proxy of proxies) proxy.heal()
      await untilBothWork()
      expect(await wrongsOf(ours.load, masters, { deadlineMs: callMs })).toEqual([])
      expect(ours.load.failed().length).toBeGreaterThan(0)
      // On a Cluster ioredis sends again after a tenth of a second.
      await waitUntil('the control: made as usual, it counts twice', async () => {
        return (await doublesOf(usual.load, masters)).length > 0
      })
    },
  )
})

async function startLoad(make: () => RedisClient): Promise<AsyncDisposable & { readonly load: Load }> {
  await using started = new AsyncDisposableStack()
  const { redis } = started.use(bare(make()))
  const { connection } = await openRedis({ client: redis }, pluginContext())
  const load = started.use(new Load('ours', askerOf(connection, callMs)))
  await load.untilItWorks()
  const all = started.move()
  return { load, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

function hostsOf(address: string): string[] {
  const [, scheme = '', hosts = '', rest = ''] = /^(.*:\/\/)([^/]*)(.*)$/.exec(address) ?? []
  return [scheme, ...hosts.split(',').toSorted(), rest]
}
