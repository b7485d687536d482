import type { AcquireWorkerIdOptions, LeaseTerms, WorkerLease } from '@multinode/core'
import {
  figure,
  type RedisServer,
  serversAvailable,
  startCluster,
  startSentinel,
  waitUntil,
} from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { duplicatesAmong, flatOut, gently, IdMaker } from './id-maker.ts'
import { quiet, table, type WorkerNode, workerNode } from './worker-node.ts'

const terms = { leaseMs: 1_500, quarantineMs: 500, maxSkewMs: 700, maxAheadMs: 500 }
/** For as long as the old master may go on serving some nodes: Sentinels tell each other of a failover every 2 s. */
const sentinelTerms = { ...terms, quarantineMs: 5_000, maxSkewMs: 5_000 }
const holderCount = 4
const timeout = 400_000

interface Outcome {
  readonly ids: number
  readonly renewals: number
  readonly newcomerAfterMs: number
}

/**
 * Generators at work while that happens, and one node that comes when it has happened; resolves when all have new ids after it.
 *
 * @param master of the table
 */
async function workThrough(
  url: string,
  master: () => Promise<RedisServer>,
  happen: () => Promise<unknown>,
  wantedTerms: LeaseTerms,
): Promise<Outcome> {
  await using stack = new AsyncDisposableStack()
  const nodes: WorkerNode[] = []
  const leases: WorkerLease[] = []
  const makers: IdMaker[] = []
  const add = async (node: WorkerNode, lease: WorkerLease): Promise<void> => {
    nodes.push(node)
    leases.push(lease)
    const maker = new IdMaker(lease.id, lease.claim())
    makers.push(stack.use(maker.start(leases.length % 2 === 0 ? flatOut : gently)))
  }
  for (let index = 0; index < holderCount; index += 1) {
    const node = stack.use(await workerNode(url, quiet))
    await add(node, await node.workerIds.acquire({ ...wantedBy(index, wantedTerms), isFirstStart: true }))
  }
  const idsBefore = leases.map(({ id }) => id)
  await untilReplicated(await master())
  const epochBefore = await epochOn(await master())
  await happen()
  const happenedAtMs = performance.now()
  const node = stack.use(await workerNode(url, quiet))
  await add(node, await node.workerIds.acquire(wantedBy(holderCount, wantedTerms)))
  const newcomerAfterMs = Math.round(performance.now() - happenedAtMs)
  const madeBefore = makers.map(({ ids }) => ids.length)
  await waitUntil(
    'the new master to know all holders, and all to make more ids',
    async () => {
      const holders = await node.workerIds.holders()
      const held = holders.filter(({ state }) => state === 'held').map(({ id }) => id)
      return (
        leases.every(({ id }) => held.includes(id)) &&
        makers.every(({ ids }, index) => ids.length > (madeBefore[index] ?? 0))
      )
    },
    { deadlineMs: 30_000 },
  )
  for (const maker of makers) await maker.stop()
  expect(await epochOn(await master()), 'the control: it is another history').toBeGreaterThan(epochBefore)
  expect(leases.slice(0, holderCount).map(({ id }) => id)).toEqual(idsBefore)
  expect(new Set(leases.map(({ id }) => id)).size).toBe(leases.length)
  expect(duplicatesAmong(...makers.map(({ ids }) => ids))).toBe(0)
  const ids = makers.reduce((sum, maker) => sum + maker.ids.length, 0)
  return {
    ids,
    renewals: nodes.reduce((sum, each) => sum + each.workerIds.stats().renewed, 0),
    newcomerAfterMs,
  }
}

/** Each has an id that it would like, or a newcomer could take that of a holder who has to wait for a new window. */
function wantedBy(index: number, leaseTerms: LeaseTerms): AcquireWorkerIdOptions {
  return { ...leaseTerms, prefer: index, ownerKey: `node-${index}` }
}

/** Else a holder whose acquire is lost, and who cannot renew within its claim, may lose its id to a record from before. */
async function untilReplicated(master: RedisServer): Promise<void> {
  const info = async (): Promise<string> => String(await master.cli('INFO', 'replication'))
  const [, offset] = /master_repl_offset:(\d+)/.exec(await info()) ?? []
  await waitUntil('the replica to be in step', async () => {
    const [, acknowledged] = /^slave0:.*,offset=(\d+)/m.exec(await info()) ?? []
    return Number(acknowledged) >= Number(offset)
  })
}

async function epochOn(master: RedisServer): Promise<number> {
  return Number(await master.cli('HGET', table, 'epoch'))
}

describe
  .skipIf(!serversAvailable())
  .concurrent('ids stay distinct, holders keep theirs and newcomers get one', () => {
    const times = figure({ slice: 1, full: 5 })
    const kills = figure({ slice: 0, full: 5 })

    it(
      `behind Sentinels, when the master is changed on command ${times} times, and killed ${kills} times`,
      {
        timeout,
      },
      async ({ annotate }) => {
        await using sentinel = await startSentinel({ replicas: 1 })
        const through = async (what: string, happen: () => Promise<unknown>): Promise<void> => {
          await sentinel.ready()
          const outcome = await workThrough(sentinel.url, () => sentinel.master(), happen, sentinelTerms)
          await annotate(`${what}: ${JSON.stringify(outcome)}`)
        }
        for (let time = 0; time < times; time += 1) await through('changed', () => sentinel.failover())
        for (let time = 0; time < kills; time += 1) {
          await through('killed', async () => {
            const dead = await sentinel.killMaster()
            await sentinel.masterAfter(dead)
            await dead.restart()
          })
        }
        expect.hasAssertions()
      },
    )

    it(
      `on a Cluster, when the slot of the table is moved and a replica takes over ${times} times, and the master is killed ${kills} times`,
      {
        timeout,
      },
      async ({ annotate }) => {
        await using cluster = await startCluster({ masters: 3, replicasEach: 1 })
        const master = (): Promise<RedisServer> => cluster.masterOf(table)
        const through = async (what: string, happen: () => Promise<unknown>): Promise<void> => {
          const before = await master()
          const outcome = await workThrough(cluster.url, master, happen, terms)
          expect(await master()).not.toBe(before)
          await annotate(`${what}: ${JSON.stringify(outcome)}`)
          await cluster.ready()
        }
        for (let time = 0; time < times; time += 1) {
          await through('moved', async () => {
            const from = await master()
            const masters = await Promise.all([0, 8_000, 16_000].map((slot) => cluster.masterOf(slot)))
            await cluster.moveSlot(table, masters.find((each) => each !== from) ?? from)
          })
          await through('took over', async () => {
            const [replica] = await cluster.replicasOf(table)
            if (replica === undefined) throw new Error('a master without a replica')
            await cluster.failover(replica)
          })
        }
        for (let time = 0; time < kills; time += 1) {
          await through('killed', async () => {
            const dead = await master()
            await dead.kill()
            await waitUntil('another master', async () => (await master()) !== dead)
            await dead.restart()
          })
        }
      },
    )
  })
