import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { WorkerLease } from '@multinode/core'
import {
  figure,
  type RedisServer,
  seededRandom,
  serversAvailable,
  spawnNode,
  startRedis,
  waitUntil,
  withLateness,
} from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { duplicatesAmong, flatOut, gently, IdMaker, timestampOf } from './id-maker.ts'
import { NaiveLease } from './naive-lease.ts'
import { quiet, table, type WorkerNode, workerNode } from './worker-node.ts'

const timeout = 180_000

/** Whether the server has it that the id is this holder's. */
async function isKnown(server: RedisServer, lease: WorkerLease): Promise<boolean> {
  const record = await server.cli('HGET', table, String(lease.id))
  return String(record).includes(lease.grant.token)
}

/** The last one may have been cut off. */
async function idsIn(file: string): Promise<number[]> {
  const { buffer, byteLength } = Uint8Array.from(await readFile(file))
  return [...new Float64Array(buffer, 0, Math.floor(byteLength / 8))]
}

describe.skipIf(!serversAvailable()).concurrent('ids', () => {
  const flushes = figure({ slice: 4, full: 30 })

  it(
    `stay distinct while all data is flushed ${flushes} times and nodes come meanwhile; holders keep theirs`,
    {
      timeout,
    },
    async ({ annotate }) => {
      // Two thirds of the lease are what a renewal may be late by.
      const terms = { range: 64, leaseMs: 4_500, quarantineMs: 1_000, maxSkewMs: 500, maxAheadMs: 500 }
      const sleepsMs = figure({ slice: terms.leaseMs / 3, full: terms.leaseMs })
      const random = seededRandom()
      await using stack = new AsyncDisposableStack()
      const server = stack.use(await startRedis())
      const open = async (): Promise<WorkerNode> => stack.use(await workerNode(server.url, quiet))
      const makers: IdMaker[] = []
      const work = (lease: WorkerLease, most: number): WorkerLease => {
        makers.push(new IdMaker(lease.id, lease.claim()).start(most))
        return lease
      }
      const holders: WorkerLease[] = []
      for (const most of [gently, flatOut, gently, flatOut]) {
        const { workerIds } = await open()
        holders.push(work(await workerIds.acquire({ ...terms, isFirstStart: true }), most))
      }
      const coming: Promise<WorkerLease>[] = []
      const reassertedAfterMs: number[] = []
      let mostLateMs = 0
      for (let flush = 0; flush < flushes; flush += 1) {
        const { workerIds } = await open()
        // Who comes early may be served after the last flush only.
        coming.push(workerIds.acquire({ ...terms, waitMs: timeout }).then((lease) => work(lease, gently)))
        await server.flush()
        const startedAt = performance.now()
        const { sumMs: lateMs } = await withLateness(
          () => server.cli('PING'),
          () =>
            waitUntil('all to assert their ids again', async () => {
              const known = await Promise.all(holders.map((lease) => isKnown(server, lease)))
              return known.every((isOurs, index) => isOurs || holders[index]?.signal.aborted)
            }),
        )
        mostLateMs = Math.max(mostLateMs, lateMs)
        reassertedAfterMs.push(Math.round(performance.now() - startedAt))
        await sleep(random.between(0, sleepsMs))
      }
      const newcomers = await Promise.all(coming)
      for (const maker of makers) await maker.stop()
      // Before anything that takes long.
      expect(holders.filter(({ held }) => held)).toHaveLength(holders.length)
      const made = makers.reduce((sum, { ids }) => sum + ids.length, 0)
      await annotate(`${made} ids; re-asserted after ${reassertedAfterMs.join(', ')} ms; seed ${random.seed}`)
      expect(duplicatesAmong(...makers.map(({ ids }) => ids)), `seed ${random.seed}`).toBe(0)
      expect(Math.max(...reassertedAfterMs)).toBeLessThan(terms.leaseMs / 3 + 1_000 + mostLateMs)
      const all = [...holders, ...newcomers].map(({ id }) => id)
      expect(new Set(all).size).toBe(all.length)
      expect(makers.every(({ ids }) => ids.length > 0)).toBe(true)
    },
  )

  it('the control: are made twice by a lease without a window', { timeout }, async () => {
    await using server = await startRedis()
    await using one = await NaiveLease.acquire(server.url, 5_000)
    expect(await NaiveLease.acquire(server.url, 5_000), 'before the flush').toBeUndefined()
    if (one === undefined) throw new Error('a lease that nobody has was refused')
    await using first = new IdMaker(one.id, one.claim()).start(flatOut)
    await waitUntil('it to run ahead', () => first.ids.length > 20 * flatOut)
    await server.flush()
    await using other = await NaiveLease.acquire(server.url, 5_000)
    if (other === undefined) throw new Error('the flush did nothing')
    await using second = new IdMaker(other.id, other.claim()).start(flatOut)
    await waitUntil('the other to work', () => second.ids.length > 0)
    expect(duplicatesAmong(first.ids, second.ids)).toBeGreaterThan(0)
  })
})

describe
  .skipIf(!serversAvailable())
  .concurrent('who has the id of one that ran ahead to its ceiling and was killed', () => {
    const aheadForMs = figure({ slice: 1_000, full: 10_000 })

    /** How many ids its successor makes that it made before all data was flushed. */
    async function duplicatesAfterFlush(
      isFirstStart: boolean,
    ): Promise<{ made: number; duplicates: number }> {
      const terms = { leaseMs: 600, quarantineMs: 600, maxSkewMs: 500, maxAheadMs: 3_000 }
      await using server = await startRedis()
      // To compare what was made takes longer than its lease.
      await using next = await workerNode(server.url, quiet)
      const file = join(server.folder, 'ids')
      const env = { REDIS_URL: server.url, FILE: file, TERMS: JSON.stringify(terms) }
      await using child = await spawnNode(new URL('./fixtures/flat-out.ts', import.meta.url), { env })
      expect(await child.nextLine('ahead')).toBe('ahead 0')
      await sleep(aheadForMs)
      // So far that its successor begins among its ids, even if it is late.
      await waitUntil('it to be far ahead', async () => {
        return timestampOf((await idsIn(file)).at(-1) ?? 0) > Date.now() + terms.maxAheadMs
      })
      await child.kill('SIGKILL')
      await server.flush()
      const lease = await next.workerIds.acquire({ ...terms, prefer: 0, isFirstStart })
      expect(lease.id).toBe(0)
      const maker = new IdMaker(lease.id, lease.claim()).start(flatOut)
      await waitUntil('it to run ahead, too', () => maker.exhausted > 10)
      await maker.stop()
      const before = await idsIn(file)
      expect(duplicatesAmong(before)).toBe(0)
      const made = before.length + maker.ids.length
      return { made, duplicates: duplicatesAmong(before, maker.ids) }
    }

    it('makes none of its ids after a flush', { timeout }, async ({ annotate }) => {
      const { made, duplicates } = await duplicatesAfterFlush(false)
      await annotate(`${made} ids`)
      expect(duplicates).toBe(0)
    })

    it(
      'the control: makes them again after a false word that nobody made ids before',
      { timeout },
      async ({ annotate }) => {
        const { made, duplicates } = await duplicatesAfterFlush(true)
        await annotate(`${duplicates} of ${made} ids`)
        expect(duplicates).toBeGreaterThan(0)
      },
    )
  })
