import { openRedis } from '@multinode/connection-redis'
import { pluginContext } from '@multinode/core/testing'
import { type RedisServer, serversAvailable, startCluster, startRedis, Wire } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { CacheServer } from '../src/cache-server.ts'
import { RedisSpace } from '../src/redis-space.ts'
import { callMs, entry, node, range } from './node.ts'

const keys = range(1_000).map((index) => `key ${index}`)
const definition = { name: 'things', version: '' }

/** How many came to each kind. */
function counted(sent: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of sent) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

describe.skipIf(!serversAvailable())('1,000 keys at once', () => {
  it('are at most two commands on a single server, and one more with tags', async () => {
    await using server = await startRedis()
    await using one = await node(server.url)
    const space = one.driver.open(definition)
    await space.set([entry('warm-up', 'value')], callMs)
    using wire = await Wire.tap(server)
    await space.set(
      keys.map((key) => entry(key, key, { tags: key.endsWith('7') ? ['seven'] : [] })),
      callMs,
    )
    await space.get('warm-up', callMs)
    const untagged = keys.filter((key) => !key.endsWith('7'))
    const sent = counted(await wire.namesDuring(() => space.getMany(untagged, callMs)))
    // TIME comes beside it every five seconds, and so does the PING that watches the connection.
    delete sent['time']
    delete sent['ping']
    expect(Object.values(sent).reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(2)
    const found = await space.getMany(keys, callMs)
    expect(found.map((each) => each?.data.toString())).toEqual(keys)
    const deleting = await wire.namesDuring(() => space.delete(keys, callMs))
    expect(deleting.filter((name) => name !== 'ping')).toEqual(['unlink'])
    const gone = await space.getMany(keys, callMs)
    expect(gone.every((each) => each === undefined)).toBe(true)
  })

  it('are one command for each key alone, the control', async () => {
    await using server = await startRedis()
    const bare = new Redis(server.url)
    await bare.ping()
    using wire = await Wire.tap(server)
    const sent = await wire.namesDuring(() => Promise.all(keys.map((key) => bare.get(key))))
    expect(sent).toHaveLength(1_000)
    bare.disconnect()
  })
})

/** How often the client wrote to each of its servers while the work was done. */
async function writesDuring(clients: readonly Redis[], work: () => Promise<unknown>): Promise<number[]> {
  const writes = clients.map(() => 0)
  const originals = clients.map(({ stream }, index) => {
    const original = stream.write.bind(stream)
    Object.assign(stream, {
      write(...args: Parameters<typeof original>) {
        writes[index] = (writes[index] ?? 0) + 1
        return original(...args)
      },
    })
    return { stream, original }
  })
  try {
    await work()
  } finally {
    for (const { stream, original } of originals) Object.assign(stream, { write: original })
  }
  return writes
}

describe.skipIf(!serversAvailable())('1,000 keys at once on three masters', async () => {
  const cluster = await startCluster({ masters: 3 })
  afterAll(() => cluster.stop())

  async function dataSize({ nodes }: { readonly nodes: readonly RedisServer[] }): Promise<number[]> {
    return await Promise.all(nodes.map(async (each) => Number(await each.cli('DBSIZE'))))
  }

  it('are one pipeline for each master, and come in their order', async () => {
    const context = pluginContext({ clusterName: 'shop' })
    const { connection, release } = await openRedis({ url: cluster.url }, context)
    const space = new RedisSpace(new CacheServer(connection, context), definition)
    await space.set(
      keys.map((key) => entry(key, key)),
      callMs,
    )
    expect((await dataSize(cluster)).every((each) => each > 200)).toBe(true)
    await space.getMany(keys, callMs)
    const clients = 'nodes' in connection.client ? connection.client.nodes('master') : []
    expect(clients).toHaveLength(3)
    const reading = await writesDuring(clients, async () => {
      const found = await space.getMany(keys, callMs)
      expect(found.map((each) => each?.data.toString())).toEqual(keys)
    })
    // Its pipeline, and the version of the namespace and the time beside it.
    expect(Math.max(...reading)).toBeLessThanOrEqual(3)
    const deleting = await writesDuring(clients, () => space.delete(keys, callMs))
    expect(Math.max(...deleting)).toBe(1)
    const alone = await writesDuring(clients, () =>
      Promise.all(keys.map((key) => space.renew(key, 'nobody', 1, callMs))),
    )
    expect(Math.max(...alone), 'the control').toBeGreaterThan(200)
    await release()
  })

  it('are followed to where a slot has moved', async () => {
    await using one = await node(cluster.url)
    const space = one.driver.open(definition)
    const some = keys.slice(0, 50)
    await space.set(
      some.map((key) => entry(key, key)),
      callMs,
    )
    const slotOf = '{shop:cache:things@:key 7}:entry'
    const from = await cluster.masterOf(slotOf)
    const to = cluster.nodes.find((each) => each !== from) ?? from
    await cluster.moveSlot(slotOf, to, {
      async midway() {
        const found = await space.getMany(some, callMs)
        expect(found.map((each) => each?.data.toString())).toEqual(some)
      },
    })
    const found = await space.getMany(some, callMs)
    expect(found.map((each) => each?.data.toString())).toEqual(some)
    await space.set([entry('key 7', 'new'), entry('key 8', 'new')], callMs)
    await space.delete(['key 8', 'key 9'], callMs)
    const after = await space.getMany(['key 7', 'key 8', 'key 9'], callMs)
    expect(after.map((each) => each?.data.toString())).toEqual(['new', undefined, undefined])
  })
})
