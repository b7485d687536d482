import { serversAvailable, startCluster, startSentinel, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import type { RedisClient, RedisConnection } from '../src/index.ts'
import { callMs, openWith } from './open-with.ts'
import { bare } from './proxied.ts'
import { settled } from './settled.ts'

interface Held {
  readonly listeners: number
  readonly sockets: number
  readonly timers: number
}

// Minutes each, because a busy machine takes long for so many.
describe.skipIf(!serversAvailable())(
  'a hundred lost connections leave nothing behind',
  { timeout: 240_000 },
  async () => {
    const [sentinel, cluster] = await Promise.all([startSentinel({ replicas: 0 }), startCluster()])
    afterAll(() => Promise.all([sentinel.stop(), cluster.stop()]))

    it.each([
      // One to the master, one to each Sentinel.
      ['behind Sentinels', sentinel.url, sentinel.nodes, 1 + sentinel.sentinels.length],
      ['of a Cluster', cluster.url, cluster.nodes, cluster.nodes.length],
    ])('%s: no listener, no timer, no socket', async (_, url, nodes, links) => {
      await using ends = new AsyncDisposableStack()
      const keepers = nodes.map((node) => ends.use(bare(new Redis(node.url))).redis)
      await using opened = await openWith({ url })
      const { connection } = opened
      await waitUntil('all links to be there', async () => {
        await works(connection)
        return held(connection.client).sockets === keepers.length + links
      })
      const before = held(connection.client)
      const seen = new Set<string>()
      for (let round = 0; round < 100; round += 1) {
        for (const link of await linksOf(opened.nodeId, keepers)) seen.add(link)
        const underWay = many(connection)
        await Promise.all(keepers.map((keeper) => keeper.call('CLIENT', 'KILL', 'TYPE', 'normal')))
        await Promise.all([...underWay, ...many(connection)])
        await waitUntil('it to work again', () => works(connection), { everyMs: 20 })
      }
      // Not by commands that fail: all of a round may be answered, before its cut or by the next link. Some are missed that are just being replaced.
      expect(seen.size, 'the control').toBeGreaterThanOrEqual(95 * nodes.length)
      await waitUntil('nothing more than before', () => {
        const now = held(connection.client)
        return (
          now.listeners <= before.listeners && now.sockets <= before.sockets && now.timers <= before.timers
        )
      })
      const left = ends.use(bare(new Redis(nodes[0]?.url ?? '')))
      await left.redis.call('PING')
      expect(held(connection.client).sockets, 'the control').toBeGreaterThan(before.sockets)
    })
  },
)

/** The links of that name: where, and which. */
async function linksOf(name: string, keepers: readonly RedisClient[]): Promise<string[]> {
  const lists = await Promise.all(keepers.map((keeper) => keeper.call('CLIENT', 'LIST')))
  return lists.flatMap((list, place) =>
    [...String(list).matchAll(new RegExp(`^id=(\\d+) .* name=${name} `, 'gm'))].map(
      ([, id]) => `${place} ${id}`,
    ),
  )
}

/** Over all nodes of a Cluster. */
function many(connection: RedisConnection): ReturnType<typeof settled>[] {
  return Array.from({ length: 6 }, (_, index) => settled(connection.command('INCR', [`k${index}`], callMs)))
}

async function works(connection: RedisConnection): Promise<boolean> {
  const ended = await Promise.all(many(connection))
  return ended.every(({ error }) => error === undefined)
}

function held(client: RedisClient): Held {
  const names = process.getActiveResourcesInfo()
  const count = (wanted: string): number => names.filter((name) => name === wanted).length
  const listeners = client.eventNames().reduce((sum, name) => sum + client.listenerCount(name), 0)
  return { listeners, sockets: count('TCPSocketWrap'), timers: count('Timeout') }
}
