import { setTimeout as sleep } from 'node:timers/promises'
import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  startSentinel,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { describe, expect, onTestFinished, test } from 'vitest'
import { dataFolder, type PrintShop, startShop } from './support/print-shop.ts'

const password = 'not-for-print'
/** The lock of the stock is waited for 5 s and a tenth; the rest is room for a busy machine. */
const orderBoundMs = 8_000
/** Of customers between two orders, so that the 200 that can be listed are all, however long the failover takes (40 s at the most). */
const pauseMs = 400

interface Topology {
  readonly name: string
  /** The only variables of the shop that differ from one topology to another. */
  readonly addressVariable: 'REDIS_URL' | 'LOCK_ADAPTER_REDIS_URL'
  readonly adapterVariable: 'CLUSTER_ADAPTER' | 'LOCK_ADAPTER'
  readonly start: () => Promise<{ readonly url: string; stop(): Promise<void> }>
}

const topologies: readonly Topology[] = [
  {
    name: 'Sentinel',
    adapterVariable: 'CLUSTER_ADAPTER',
    addressVariable: 'REDIS_URL',
    start: () => startSentinel({ password, sentinelPassword: password, replicas: 1 }),
  },
  {
    name: 'Cluster',
    adapterVariable: 'LOCK_ADAPTER',
    addressVariable: 'LOCK_ADAPTER_REDIS_URL',
    start: () => startCluster({ password }),
  },
  {
    name: 'TLS',
    adapterVariable: 'CLUSTER_ADAPTER',
    addressVariable: 'REDIS_URL',
    start: async () => {
      const redis = await startRedis({ password, tls: 'server' })
      return { url: `${redis.url}?tls_ca_file=${redis.tls?.ca}`, stop: () => redis.stop() }
    },
  },
]

describe.skipIf(!serversAvailable())('with nothing but the address changed', () => {
  test.for(topologies)(
    '$name: two nodes sell what there is, print each order once, and name the address without its password',
    // Until Sentinels know all of each other may take 40 s alone.
    { timeout: 120_000 },
    async ({ adapterVariable, addressVariable, start }) => {
      const servers = await start()
      onTestFinished(() => servers.stop())
      const shops = await startTwoShops({
        [adapterVariable]: 'redis',
        [addressVariable]: servers.url,
        REDIS_URL: servers.url,
      })
      const address = servers.url.replace(`:${password}@`, ':***@').replace(/\?.*/, '')
      const report = `  lock is on redis at ${address} (from ${addressVariable}), because ${adapterVariable}=redis\n`
      for (const { child } of shops) expect(child.output()).toContain(report)

      const order = { customer: 'Ada', item: 'letterpress', quantity: 3 }
      const calls = Array.from({ length: 6 }, () => shops.map((shop) => shop.post('/orders', order)))
      const statuses = (await Promise.all(calls.flat())).map((reply) => reply.status)
      expect(statuses.filter((status) => status === 202)).toHaveLength(10)
      expect(statuses.filter((status) => status === 409)).toHaveLength(2)
      const [first, second] = shops
      await waitUntil('all to be printed', async () => (await first.list('?status=finished')).length === 10)
      expect((await second.list()).map(({ attempts }) => attempts)).toEqual(Array(10).fill(1))
      for (const shop of shops) {
        expect(await (await shop.call('/cluster')).text()).not.toContain(password)
        expect(shop.child.output()).not.toContain(password)
      }
    },
  )

  test('Sentinel: through the death of the master every order is answered in time, and afterwards taken and printed', async () => {
    const sentinel = await startSentinel({ replicas: 2, password })
    onTestFinished(() => sentinel.stop())
    const shops = await startTwoShops({ CLUSTER_ADAPTER: 'redis', REDIS_URL: sentinel.url })
    for (const shop of shops) await shop.order('flyer')

    const master = await sentinel.master()
    expect(await nodesOn(master)).toEqual(['press-1', 'press-2'])
    let successor: RedisServer | undefined
    const failOver = async (): Promise<void> => {
      successor = await sentinel.masterAfter(await sentinel.killMaster())
    }
    const ordering = shops.map((shop) => keepOrdering(shop, () => successor !== undefined))
    const [, ...answered] = await Promise.all([failOver(), ...ordering])
    for (const { status, retryAfter, ms } of answered.flat()) {
      expect({ status, retryAfter }).toBeOneOf([
        { status: 202, retryAfter: null },
        { status: 503, retryAfter: '1' },
      ])
      expect(ms).toBeLessThan(orderBoundMs + stolenMs())
    }
    expect(successor && (await nodesOn(successor))).toEqual(['press-1', 'press-2'])
    const [first, second] = shops
    const placed = await first.list('?limit=200')
    // A job that was on its way to a node comes again after a lease; one that the replicas did not have, when it is missed.
    for (const { id } of placed) await second.untilStatus(id, 'finished', 60_000)
    expect(await second.left('flyer')).toBe(100_000 - placed.length)
  }, 240_000)
})

/** Whose commands this server takes: a connection has the name of its node. */
async function nodesOn(server: RedisServer): Promise<string[]> {
  const clients = await server.cli('CLIENT', 'LIST')
  const names = [...String(clients).matchAll(/name=(press-\d)/g)].map(([, name = '']) => name)
  return [...new Set(names)].toSorted()
}

/** Nodes of one machine, with one order book. */
async function startTwoShops(env: Readonly<Record<string, string>>): Promise<[PrintShop, PrintShop]> {
  const shared = { ...env, DATA_DIR: dataFolder() }
  return await Promise.all([
    startShop({ ...shared, NODE_ID: 'press-1' }),
    startShop({ ...shared, NODE_ID: 'press-2' }),
  ])
}

interface Answer {
  readonly status: number
  readonly retryAfter: string | null
  readonly ms: number
}

/** One order after the other, none of them repeated; the last one is placed when it is over, and is taken. */
async function keepOrdering(shop: PrintShop, isOver: () => boolean): Promise<Answer[]> {
  const answers: Answer[] = []
  for (;;) {
    const isAfterwards = isOver()
    const startedAtMs = performance.now()
    const reply = await shop.post('/orders', { customer: 'Ada', item: 'flyer', quantity: 1 })
    const ms = performance.now() - startedAtMs
    answers.push({ status: reply.status, retryAfter: reply.headers.get('retry-after'), ms })
    if (isAfterwards && reply.status === 202) return answers
    await sleep(pauseMs)
  }
}
