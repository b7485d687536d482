import { setTimeout as sleep } from 'node:timers/promises'
import { isMultinodeError } from '@multinode/core'
import {
  figure,
  type RedisServer,
  serversAvailable,
  startRedis,
  stolenMs,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { duplicatesAmong, flatOut, gently, IdMaker, timestampOf } from './id-maker.ts'
import { type WorkerNode, workerNode } from './worker-node.ts'

const terms = { leaseMs: 900, quarantineMs: 600, maxSkewMs: 500, maxAheadMs: 500 }
const onlyOne = { ...terms, range: 1, ownerKey: 'ann' }
/** What a backend waits for that may have lost what it knew. */
const newHistoryMs = terms.leaseMs + terms.maxSkewMs
/** Until a client that tries again with jitter has a connection, and a renewal is tried again: each a second. */
const noticedWithinMs = 2_000
/** Room for a machine that does other things as well. */
const lateMs = 2_000
const callTimeoutMs = 500
const timeout = 60_000

interface Place {
  readonly server: RedisServer
  readonly proxy: TcpProxy
}

const outages = [
  {
    outage: 'is paused',
    aof: false,
    begin: ({ server }: Place) => server.pause(),
    end: async ({ server }: Place) => server.resume(),
    isForgetful: false,
  },
  {
    outage: 'is cut off',
    aof: false,
    begin: async ({ proxy }: Place) => proxy.blackhole(),
    end: async ({ proxy }: Place) => proxy.heal(),
    isForgetful: false,
  },
  {
    outage: 'is killed, and restarted with its data,',
    aof: true,
    begin: ({ server }: Place) => server.kill(),
    end: ({ server }: Place) => server.restart(),
    isForgetful: true,
  },
  {
    outage: 'is killed, and restarted empty,',
    aof: false,
    begin: ({ server }: Place) => server.kill(),
    end: ({ server }: Place) => server.restart(),
    isForgetful: true,
  },
]

const paces = [
  { pace: 'flat out', most: flatOut },
  { pace: 'now and then', most: gently },
].slice(0, figure({ slice: 1, full: 2 }))

/** The control: a bare client gets no answer either. */
async function expectFault(url: string): Promise<void> {
  const client = new Redis(url, { commandTimeout: callTimeoutMs, maxRetriesPerRequest: 0 })
  client.on('error', () => {})
  await expect(client.ping()).rejects.toThrow()
  client.disconnect()
}

/** Nothing hangs. */
async function expectRefusal({ workerIds }: WorkerNode): Promise<void> {
  const startedAtMs = performance.now()
  const refusal = expect.objectContaining({ code: expect.stringMatching(/^(TIMEOUT|UNAVAILABLE)$/) })
  await expect(workerIds.acquire({ ...onlyOne, waitMs: 0 })).rejects.toEqual(refusal)
  await expect(workerIds.holders()).rejects.toEqual(refusal)
  expect(performance.now() - startedAtMs).toBeLessThan(2 * callTimeoutMs + lateMs + stolenMs())
}

describe.skipIf(!serversAvailable()).concurrent.each(outages)(
  'while Redis $outage for 3 leases',
  ({ aof, begin, end, isForgetful }) => {
    it.for(paces)(
      'ids made $pace stop at the ceiling, and go on with the same worker id',
      { timeout },
      async ({ most }, { annotate }) => {
        await using server = await startRedis({ aof })
        await using proxy = await tcpProxy(server.port)
        const url = `redis://127.0.0.1:${proxy.port}`
        const reported: unknown[] = []
        const report = (error: unknown): unknown => reported.push(error)
        await using node = await workerNode(url, { callTimeoutMs, report })
        const lease = await node.workerIds.acquire({ ...onlyOne, isFirstStart: true })
        const window = lease.claim()
        await using maker = new IdMaker(lease.id, window).start(most)
        await waitUntil('a renewal', () => node.workerIds.stats().renewed > 1)

        await begin({ server, proxy })
        const startedAtMs = performance.now()
        await expectFault(url)
        await sleep(3 * terms.leaseMs - (performance.now() - startedAtMs))
        expect(lease.signal.reason).toMatchObject({ code: 'LOST' })
        expect(() => lease.assertHeld()).toThrow('was not renewed in time')
        expect(() => maker.make()).toThrow(expect.objectContaining({ code: 'EXHAUSTED' }))
        const ceilingMs = window.ceiling()
        expect(ceilingMs).toBeLessThan(Date.now())
        expect(timestampOf(maker.ids.at(-1) ?? 0)).toBeLessThanOrEqual(ceilingMs)
        const madeBefore = maker.ids.length
        await expectRefusal(node)

        const endsAtMs = performance.now()
        await end({ server, proxy })
        const endedAtMs = performance.now()
        await waitUntil('more ids', () => maker.ids.length > madeBefore, { everyMs: 5 })
        const resumedAtMs = performance.now()
        const resumedAfterMs = resumedAtMs - endedAtMs
        const waitedMs = isForgetful ? newHistoryMs : 0
        const floorMs = Math.min(...maker.ids.slice(madeBefore).map(timestampOf))
        // A server that is started answers before this test knows, but not long before.
        expect(resumedAtMs - endsAtMs).toBeGreaterThan(waitedMs - 1)
        expect(resumedAfterMs).toBeGreaterThanOrEqual(waitedMs / 2)
        expect(resumedAfterMs).toBeLessThan(waitedMs + noticedWithinMs + lateMs + stolenMs())
        expect(floorMs).toBeGreaterThan(ceilingMs)
        expect(floorMs, 'a new window after a new history').toBeGreaterThanOrEqual(window.floor())
        expect(lease.signal.aborted, 'for good').toBe(true)
        expect(await node.workerIds.holders()).toMatchObject([
          { id: lease.id, ownerKey: 'ann', state: 'held' },
        ])
        await using newcomer = await workerNode(server.url)
        // What comes late is not to be refused for its clock.
        const tolerant = { ...onlyOne, maxSkewMs: 30_000, waitMs: 0 }
        await expect(newcomer.workerIds.acquire(tolerant)).rejects.toMatchObject({
          code: 'EXHAUSTED',
        })
        const madeMeanwhile = maker.ids.length
        await waitUntil('ids that go on', () => maker.ids.length > madeMeanwhile + 100)
        await maker.stop()
        expect(duplicatesAmong(maker.ids)).toBe(0)
        expect(maker.ids.every((id, index) => id > (maker.ids[index - 1] ?? 0))).toBe(true)
        expect(reported.filter((error) => isMultinodeError(error) && error.code === 'LOST')).toHaveLength(1)
        await annotate(`went on after ${Math.round(resumedAfterMs)} ms`)
      },
    )
  },
)
