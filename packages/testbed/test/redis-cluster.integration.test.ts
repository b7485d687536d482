import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Cluster } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  readTls,
  type RedisCluster,
  type RedisServer,
  serversAvailable,
  startCluster,
  waitUntil,
} from '../src/index.ts'
import { testbedFolder } from '../src/temp-folder.ts'

const keys = Array.from({ length: 100 }, (_, index) => `key:${index}`)
// All in one slot.
const tagged = Array.from({ length: 20 }, (_, index) => `{tag}:${index}`)

function connect(cluster: RedisCluster, password?: string): Cluster {
  const nodes = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  const tls = cluster.tls && readTls(cluster.tls)
  const redisOptions = { ...(password !== undefined && { password }), ...(tls && { tls }) }
  const client = new Cluster(nodes, { clusterRetryStrategy: () => 50, redisOptions })
  client.on('error', () => {})
  return client
}

describe.skipIf(!serversAvailable())('startCluster with a replica each', () => {
  let cluster: RedisCluster
  let client: Cluster

  beforeAll(async () => {
    cluster = await startCluster({ replicasEach: 1 })
  })

  afterAll(async () => {
    await cluster.stop()
  })

  beforeEach(async () => {
    await cluster.ready()
    await cluster.flush()
    client = connect(cluster)
  })

  afterEach(() => {
    client.disconnect()
  })

  const setAll = async (names: readonly string[]) =>
    await Promise.all(names.map((name) => client.set(name, name)))
  const getAll = async (names: readonly string[]) => await Promise.all(names.map((name) => client.get(name)))

  async function anotherMaster(master: RedisServer): Promise<RedisServer> {
    // The first and the last slot never have the same master.
    const [first, last] = [await cluster.masterOf(0), await cluster.masterOf(16_383)]
    return first === master ? last : first
  }

  it('names all nodes in its url', () => {
    const hosts = cluster.nodes.map(({ port }) => `127.0.0.1:${port}`)
    expect(hosts).toHaveLength(6)
    expect(cluster.url).toBe(`redis+cluster://${hosts.join(',')}`)
  })

  it('spreads keys over all masters, and knows the master of each', async () => {
    await setAll(keys)
    const masters = new Set(await Promise.all(keys.slice(0, 20).map((key) => cluster.masterOf(key))))
    expect(masters.size).toBe(3)
    const sizes = await Promise.all([...masters].map((master) => master.cli('DBSIZE')))
    expect(sizes.reduce((sum: number, size) => sum + Number(size), 0)).toBe(keys.length)
    const master = await cluster.masterOf('key:7')
    expect(await master.cli('GET', 'key:7')).toBe('key:7')
  })

  it('keeps all keys within reach while their slot moves, and after', async () => {
    await setAll(tagged)
    const from = await cluster.masterOf('{tag}')
    const to = await anotherMaster(from)
    let seenMidway: (string | null)[] = []
    await cluster.moveSlot('{tag}', to, {
      midway: async () => {
        await expect(from.cli('GET', '{tag}:new')).rejects.toThrow('ASK')
        seenMidway = await getAll(tagged)
        await client.set('{tag}:new', 'value')
      },
    })
    expect(seenMidway).toEqual(tagged)
    expect(await cluster.masterOf('{tag}')).toBe(to)
    expect(await getAll([...tagged, '{tag}:new'])).toEqual([...tagged, 'value'])
    expect(await from.cli('DBSIZE')).toBe(0)
  })

  it('ends the move of a slot also when what is done midway fails', async () => {
    await setAll(tagged)
    const to = await anotherMaster(await cluster.masterOf('{tag}'))
    const midway = () => {
      throw new Error('midway')
    }
    await expect(cluster.moveSlot('{tag}', to, { midway })).rejects.toThrow('midway')
    expect(await cluster.masterOf('{tag}')).toBe(to)
    expect(await getAll(tagged)).toEqual(tagged)
  })

  it('fails over to a replica when told, without losing what was written', async () => {
    await setAll(keys)
    const [previous, [replica]] = [await cluster.masterOf(0), await cluster.replicasOf(0)]
    if (!replica) throw new Error('no replica')
    await cluster.failover(replica)
    expect(await cluster.masterOf(0)).toBe(replica)
    expect(await cluster.replicasOf(0)).toEqual([previous])
    expect(await getAll(keys)).toEqual(keys)
  })

  it('replaces a killed master by its replica, and takes it back', { timeout: 120_000 }, async () => {
    const dead = await cluster.masterOf(0)
    await dead.kill()
    await waitUntil('all keys to be accepted', () => setAll(keys), { deadlineMs: 40_000 })
    const master = await cluster.masterOf(0)
    expect(master).not.toBe(dead)
    await dead.restart()
    await cluster.ready()
    expect(await cluster.masterOf(0)).toBe(master)
    expect(await cluster.replicasOf(0)).toEqual([dead])
  })
})

describe.skipIf(!serversAvailable())('startCluster without replicas, with password and tls', () => {
  let cluster: RedisCluster
  let client: Cluster

  beforeAll(async () => {
    cluster = await startCluster({ password: 'p:w', tls: 'mutual' })
    client = connect(cluster, 'p:w')
  })

  afterAll(async () => {
    client.disconnect()
    await cluster.stop()
  })

  it('lets in who has both', async () => {
    expect(cluster.url).toMatch(/^rediss\+cluster:\/\/:p%3Aw@127\.0\.0\.1:\d+(,127\.0\.0\.1:\d+){2}$/)
    await Promise.all(keys.map((key) => client.set(key, key)))
    const sizes = await Promise.all(cluster.nodes.map((node) => node.cli('DBSIZE')))
    expect(sizes.every((size) => Number(size) > 0)).toBe(true)
  })

  it('moves a slot with its keys', async () => {
    await client.set('{tag}', 'value')
    const from = await cluster.masterOf('{tag}')
    const to = cluster.nodes.find((node) => node !== from) ?? from
    await cluster.moveSlot('{tag}', to)
    expect(await client.get('{tag}')).toBe('value')
    expect(await to.cli('EXISTS', '{tag}')).toBe(1)
  })

  it('is down without one of its masters, and ready after its restart', { timeout: 120_000 }, async () => {
    const [dead, other] = cluster.nodes
    if (!dead || !other) throw new Error('no nodes')
    await dead.kill()
    const isDown = async () => String(await other.cli('CLUSTER', 'INFO')).includes('cluster_state:fail')
    await waitUntil('the cluster to be down', isDown, { deadlineMs: 20_000 })
    await dead.restart()
    await cluster.ready()
    expect(await client.set('key', 'value')).toBe('OK')
  })

  it('leaves no process, no folder and no claim after stop', async () => {
    const folders = cluster.nodes.map(({ folder }) => folder)
    await cluster.stop()
    await cluster.stop()
    expect(cluster.nodes.map(({ state }) => state)).toEqual(['gone', 'gone', 'gone'])
    expect(folders.some((folder) => existsSync(folder))).toBe(false)
    const ports = cluster.nodes.flatMap(({ port }) => [port, port + 10_000])
    expect(ports.some((port) => existsSync(join(testbedFolder('ports'), String(port))))).toBe(false)
  })
})
