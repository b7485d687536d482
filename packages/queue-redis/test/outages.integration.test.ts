import { setTimeout as sleep } from 'node:timers/promises'
import { openRedis } from '@multinode/connection-redis'
import { pluginContext } from '@multinode/core/testing'
import {
  figure,
  publishAt,
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  stolenMs,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Queue as BullQueue } from 'bullmq'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { JobsRun } from './jobs-run.ts'
import { checkServer } from '../src/server-check.ts'
import { node, untilOpen } from './node.ts'

const callTimeoutMs = 1_000
/** What was on its way to the worker when a long outage cut its links waits for that. */
const leaseMs = 5_000

interface Outage {
  readonly name: string
  readonly begin: (server: RedisServer, proxy: TcpProxy) => Promise<unknown>
  readonly end: (server: RedisServer, proxy: TcpProxy) => Promise<unknown>
}

const outages: readonly Outage[] = [
  { name: 'down', begin: (server) => server.kill(), end: (server) => server.restart() },
  { name: 'frozen', begin: (server) => server.pause(), end: async (server) => server.resume() },
  {
    name: 'half-open',
    begin: async (_, proxy) => proxy.blackhole(),
    end: async (_, proxy) => proxy.blackhole(false),
  },
]

describe.skipIf(!serversAvailable())('while Redis is away', { timeout: 120_000 }, () => {
  const outageMs = figure({ slice: 3_500, full: 30_000 })

  it.for(outages)(
    '($name) each add settles in its time and a tenth, and says truly whether its job will run',
    async ({ begin, end }, { annotate }) => {
      await using server = await startRedis({ aof: true })
      await using proxy = await tcpProxy(server.port)
      await using adding = await untilOpen(`redis://127.0.0.1:${proxy.port}`, { callTimeoutMs })
      await using working = await node(server.url)
      const jobs = new JobsRun()
      const queue = adding.queues.open<number>('jobs')
      const took: number[] = []
      const add = async (): Promise<void> => void took.push(await jobs.add(queue))
      await working.queues
        .open<number>('jobs')
        .process(({ payload }) => jobs.ran(payload), { concurrency: 10, leaseMs })
      await add()
      const perSecond = 100
      await Promise.all([
        publishAt(perSecond, (perSecond * (outageMs + 1_000)) / 1_000, [add]),
        (async () => {
          await sleep(500)
          await begin(server, proxy)
          await sleep(outageMs)
          await end(server, proxy)
        })(),
      ])
      await jobs.allRan()
      await waitUntil('the connection', async () => (await queue.add(-1)).status)
      await waitUntil(
        'none to be left',
        async () => {
          const { waiting, active } = await queue.counts()
          return waiting === 0 && active === 0
        },
        { deadlineMs: 4 * leaseMs },
      )
      await annotate(`${String(jobs)}; at most ${Math.round(Math.max(...took))} ms`)
      expect(jobs).toMatchObject({ lost: 0, lies: 0, isSettled: true })
      expect(Math.max(...took)).toBeLessThan(callTimeoutMs * 1.1 + 250 + stolenMs())
      const failed = jobs.count('not-sent') + jobs.count('unknown')
      expect(failed, 'the control: it was away').toBeGreaterThan((outageMs / 1_000 - 2) * perSecond)
      await expect(queue.add(-2)).resolves.toMatchObject({ status: 'added' })
    },
  )

  it.for(outages)(
    '($name) the control: an add of BullMQ does not settle in three times that',
    async ({ begin, end }) => {
      await using server = await startRedis()
      await using proxy = await tcpProxy(server.port)
      const client = new Redis(proxy.port, '127.0.0.1', { maxRetriesPerRequest: null })
      client.on('error', () => {})
      const raw = new BullQueue('raw', { connection: client })
      raw.on('error', () => {})
      await raw.add('job', {})
      await begin(server, proxy)
      const adding = raw.add('job', {})
      const isSettled = await Promise.race([
        adding.then(
          () => true,
          () => true,
        ),
        sleep(3 * callTimeoutMs, false),
      ])
      expect(isSettled).toBe(false)
      await end(server, proxy)
      await adding
      await raw.close()
      client.disconnect()
    },
  )
})

describe.skipIf(!serversAvailable())('while a Cluster is away', { timeout: 120_000 }, () => {
  it('a look at it rejects, also when no node of it is known any more', async () => {
    await using cluster = await startCluster()
    const context = pluginContext()
    const { connection, release } = await openRedis({ url: cluster.url }, context)
    const { client } = connection
    const look = (): Promise<unknown> => checkServer(connection, context.clock, callTimeoutMs)
    await expect(look()).resolves.toMatchObject({ concerns: expect.any(Array) })
    await Promise.all(cluster.nodes.map((each) => each.kill()))
    let error: unknown
    await waitUntil('none to be known', async () => {
      if (!('nodes' in client) || client.nodes('master').length > 0) return false
      // In the same turn, because it looks for them again and again.
      error = await look().catch((reason: unknown) => reason)
      return true
    })
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    await release()
  })
})
