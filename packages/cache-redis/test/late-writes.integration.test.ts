import { openRedis } from '@multinode/connection-redis'
import { type CacheDriver, type Clock, MultinodeError } from '@multinode/core'
import { pluginContext } from '@multinode/core/testing'
import {
  type RedisCluster,
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Cluster, Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { CacheServer } from '../src/cache-server.ts'
import { RedisSpace } from '../src/redis-space.ts'
import { callMs, entry, node, range } from './node.ts'

const definition = { name: 'things', version: '' }
const shortMs = 250
/** So long is on its way what should come after a delete: the delete is in time also where this process is late. */
const onItsWayMs = 2_000
const rounds = range(5)

describe.skipIf(!serversAvailable())('a set that ran out of time', () => {
  it('does not come over a later delete when it was on its way meanwhile', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    const context = pluginContext({ clusterName: 'shop' })
    const { connection, release } = await openRedis({ url: `redis://127.0.0.1:${proxy.port}` }, context)
    await using two = await node(server.url)
    const bare = new Redis(proxy.port, { commandTimeout: shortMs })
    bare.on('error', () => {})
    const remote = new CacheServer(connection, context)
    const here = new RedisSpace(remote, definition)
    const there = two.driver.open(definition)
    for (const round of range(2)) {
      const key = `key ${round}`
      await here.set([entry(key, 'before')], callMs)
      // Of a server whose time is not known well, because its answer was late, nobody can say when this is over.
      await waitUntil('the time there', () => remote.clocks.deadline(key, shortMs) < Infinity)
      // Its commands have little time: the first ones may be late where others use the machine.
      await waitUntil('the control to be connected', () => bare.ping())
      proxy.delay(onItsWayMs)
      const bareSetting = bare.set(key, 'late').catch(() => 'failed')
      const late = await here.set([entry(key, 'late')], shortMs).catch((error: unknown) => error)
      expect(late).toMatchObject({ code: 'TIMEOUT' })
      expect(await bareSetting).toBe('failed')
      await there.delete([key], callMs)
      await server.cli('DEL', key)
      proxy.delay(0)
      // Comes after what is on its way on the same connection.
      await here.get(key, callMs)
      expect(await there.get(key, callMs)).toBe(undefined)
      await waitUntil('the control', async () => (await server.cli('GET', key)) === 'late')
    }
    bare.disconnect()
    await release()
  })

  it('is not sent again when the server did not know its script, and nor is a file or what was added to a filter', async () => {
    await using server = await startRedis()
    await using one = await node(server.url)
    await using two = await node(server.url)
    const here = verbs(one.driver)
    const there = verbs(two.driver)
    for (const _ of rounds) {
      await server.cli('SCRIPT', 'FLUSH')
      await server.pause()
      const late = await Promise.allSettled(here.map(({ write }) => write(shortMs)))
      for (const each of late) expect(each).toMatchObject({ reason: { code: 'TIMEOUT' } })
      server.resume()
      await Promise.all(there.map(({ remove }) => remove()))
      // What is sent because of answers that have come by now is done before the answer to this.
      for (const { read } of here) await read()
      for (const { read } of there) expect(await read()).toBe(undefined)
    }
    await server.cli('SCRIPT', 'FLUSH')
    await Promise.all(here.map(({ write }) => write(callMs)))
    for (const { read } of there) expect(await read(), 'the control').toBeDefined()
  })

  it('does not come over a later delete when its slot of a Cluster was not served meanwhile', async () => {
    await using cluster = await startCluster()
    await using one = await node(cluster.url)
    await using two = await node(cluster.url)
    const here = one.driver.open(definition)
    const there = two.driver.open(definition)
    // It tries again so late that this comes after the delete also where the machine is busy.
    const bare = new Cluster(
      cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })),
      { retryDelayOnClusterDown: 1_000 },
    )
    bare.on('error', () => {})
    let lateBare = 0
    for (const round of range(2)) {
      const key = `key ${round}`
      const slotName = `{shop:cache:things@:${key}}`
      await here.set([entry(key, 'before')], callMs)
      const slot = await unserved(cluster, slotName)
      const setting = here.set([entry(key, 'late')], shortMs).catch((error: unknown) => error)
      const bareSetting = bare.set(`${slotName}bare`, 'late')
      expect(await setting).toMatchObject({ code: expect.stringMatching(/^(UNAVAILABLE|TIMEOUT)$/) })
      await slot.serve()
      await slot.owner.cli('DEL', `${slotName}bare`)
      await there.delete([key], callMs)
      await bareSetting
      if ((await bare.get(`${slotName}bare`)) === 'late') lateBare += 1
      expect(await there.get(key, callMs)).toBe(undefined)
    }
    expect(lateBare, 'the control').toBeGreaterThan(0)
    bare.disconnect()
  })

  it('in time is done when its slot of a Cluster is served again', async () => {
    await using cluster = await startCluster()
    await using one = await node(cluster.url)
    const here = one.driver.open(definition)
    await here.set([entry('key', 'before')], callMs)
    const slot = await unserved(cluster, '{shop:cache:things@:key}')
    const refused = await here.set([entry('key', 'late')], shortMs).catch((error: unknown) => error)
    expect(refused, 'the control').toBeInstanceOf(MultinodeError)
    const setting = here.set([entry('key', 'in time')], callMs)
    await slot.serve()
    await setting
    expect((await here.get('key', callMs))?.data.toString()).toBe('in time')
  })

  it('is what a server finds whose clock was set ahead, once and not for ever', async () => {
    await using server = await startRedis()
    let behindMs = 0
    const clock = clockThat(() => behindMs)
    await using one = await node(server.url, { clock })
    const here = one.driver.open(definition)
    await here.set([entry('key', 'value')], callMs)
    await here.get('key', callMs)
    behindMs = 60_000
    await expect(here.set([entry('key', 'refused')], callMs), 'the control').rejects.toMatchObject({
      code: 'TIMEOUT',
      outcome: 'not-sent',
    })
    await here.set([entry('key', 'next')], callMs)
    await here.get('key', callMs)
    await here.set([entry('key', 'last')], callMs)
    expect((await here.get('key', callMs))?.data.toString()).toBe('last')
  })
})

/** Of a node that is behind by so much. */
function clockThat(behindMs: () => number): Clock {
  return {
    monotonicMs: () => performance.now() - behindMs(),
    wallMs: () => Date.now(),
    setTimer(callback, delayMs, kind) {
      const timeout = setTimeout(callback, delayMs)
      if (kind === 'background') timeout.unref()
      return { cancel: () => clearTimeout(timeout) }
    },
  }
}

interface Verbs {
  readonly write: (timeoutMs: number) => Promise<void>
  readonly remove: () => Promise<void>
  readonly read: () => Promise<unknown>
}

function verbs(driver: CacheDriver): readonly Verbs[] {
  const space = driver.open(definition)
  const { files, bloomFilters } = driver
  if (files === undefined || bloomFilters === undefined) throw new Error('a cache without files and filters')
  const file = { bytes: Buffer.from('late'), etag: 'etag', contentType: 'text/plain' }
  const filter = { name: 'filter', capacity: 1_000, errorRate: 0.01 }
  return [
    {
      write: (timeoutMs) => space.set([entry('key', 'late')], timeoutMs),
      remove: () => space.delete(['key'], callMs),
      read: () => space.get('key', callMs),
    },
    {
      write: (timeoutMs) => files.put('file', file, undefined, timeoutMs),
      remove: () => files.delete('file', callMs),
      read: () => files.get('file', [], callMs),
    },
    {
      write: (timeoutMs) => bloomFilters.add(filter, ['late'], timeoutMs),
      remove: () => bloomFilters.remove('filter', callMs),
      read: () => bloomFilters.mayHave(filter, ['late'], callMs),
    },
  ]
}

/** Takes the slot of this key from its master, until it is given back. */
async function unserved(
  cluster: RedisCluster,
  key: string,
): Promise<{ readonly owner: RedisServer; readonly serve: () => Promise<void> }> {
  const owner = await cluster.masterOf(key)
  const slot = String(await owner.cli('CLUSTER', 'KEYSLOT', key))
  await owner.cli('CLUSTER', 'DELSLOTS', slot)
  return { owner, serve: async () => void (await owner.cli('CLUSTER', 'ADDSLOTS', slot)) }
}
