import type { WorkerIdReply, WorkerLease } from '@multinode/core'
import {
  figure,
  type RedisServer,
  serversAvailable,
  startRedis,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { duplicatesAmong, flatOut, gently, IdMaker } from './id-maker.ts'
import { failOver, follow, inStep, type ReplicatedPair, startPair, startServer } from './replicated-pair.ts'
import { quiet, table, type WorkerNode, workerNode } from './worker-node.ts'

// Two thirds of the lease are what a renewal may be late by.
const terms = { leaseMs: 3_600, quarantineMs: 100, maxSkewMs: 200, maxAheadMs: 500 }
/** One id for all, so that a newcomer can only have the one that is in use. */
const onlyOne = { ...terms, range: 1 }
const newcomerWaitsMs = terms.leaseMs + terms.maxSkewMs
/** It asks each second. */
const patienceMs = newcomerWaitsMs + 1_500
/** Long after lease and quarantine of what the replica knows are over. */
const longLagMs = terms.leaseMs + 5 * terms.quarantineMs
const timeout = 180_000

async function recordOn(server: RedisServer, id: number): Promise<string> {
  return String(await server.cli('HGET', table, String(id)))
}

/** The control: the table says that nothing has changed. */
async function forgeHistory(server: RedisServer): Promise<void> {
  const [, history = ''] = /master_replid:(\w+)/.exec(String(await server.cli('INFO', 'replication'))) ?? []
  expect(await server.cli('HSET', table, 'history', history)).toBe(0)
}

interface Scene extends AsyncDisposable {
  readonly pair: ReplicatedPair
  readonly node: WorkerNode
  readonly lease: WorkerLease
  readonly maker: IdMaker
}

/** One at work, flat out, of whose last renewals, or even of whose lease, the replica does not know. */
async function startScene(lost: 'renewals' | 'acquire', lagMs: number): Promise<Scene> {
  await using started = new AsyncDisposableStack()
  const pair = started.use(await startPair())
  const node = started.use(await workerNode(pair.master.url, quiet))
  // So that the replica knows of a table.
  await using earlier = await node.workerIds.acquire({ ...terms, prefer: 1, isFirstStart: true })
  expect(earlier.id).toBe(1)
  if (lost === 'acquire') await cut(pair)
  const lease = await node.workerIds.acquire(onlyOne)
  const maker = started.use(new IdMaker(lease.id, lease.claim()).start(flatOut))
  if (lost === 'renewals') await cut(pair)
  const renewed = (): number => node.workerIds.stats().renewed
  const before = renewed()
  const cutAtMs = performance.now()
  await waitUntil(
    'renewals that the replica misses, for as long',
    () => renewed() >= before + 2 && performance.now() - cutAtMs >= lagMs && maker.exhausted > 0,
  )
  const [here, there] = await Promise.all([recordOn(pair.master, 0), recordOn(pair.replica, 0)])
  expect(here).not.toBe(there)
  expect(there === 'null').toBe(lost === 'acquire')
  const stack = started.move()
  return { pair, node, lease, maker, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

async function cut({ master, link }: ReplicatedPair): Promise<void> {
  await inStep(master)
  link.blackhole()
}

describe.skipIf(!serversAvailable()).concurrent.each([
  { lost: 'renewals', lagMs: 0 },
  { lost: 'renewals', lagMs: longLagMs },
  { lost: 'acquire', lagMs: 0 },
  { lost: 'acquire', lagMs: longLagMs },
] as const)(
  'after the promotion of a replica that missed the $lost, and is $lagMs ms behind,',
  ({ lost, lagMs }) => {
    it('the holder keeps its id, which no newcomer gets', { timeout }, async () => {
      await using scene = await startScene(lost, lagMs)
      const { pair, node, lease, maker } = scene
      await failOver(pair)
      await node.moveTo(pair.replica.url)
      await using newcomer = await workerNode(pair.replica.url, quiet)
      const promotedAtMs = performance.now()
      const got = await newcomer.workerIds
        .acquire({ ...onlyOne, waitMs: patienceMs })
        .catch((error: unknown) => error)
      expect(got).toMatchObject({ code: 'EXHAUSTED' })
      expect(performance.now() - promotedAtMs).toBeGreaterThanOrEqual(patienceMs - 1)
      expect(lease.held).toBe(true)
      expect(await recordOn(pair.replica, 0)).toContain(lease.grant.token)
      const madeBefore = maker.ids.length
      await waitUntil('more ids', () => maker.ids.length > madeBefore)
      await maker.stop()
      expect(duplicatesAmong(maker.ids)).toBe(0)
    })

    it('its successor makes none of its ids, when it is cut off', { timeout }, async () => {
      await using scene = await startScene(lost, lagMs)
      const { pair, maker } = scene
      await failOver(pair)
      const promotedAtMs = performance.now()
      await using newcomer = await workerNode(pair.replica.url, quiet)
      const lease = await newcomer.workerIds.acquire(onlyOne)
      expect(performance.now() - promotedAtMs).toBeGreaterThan(newcomerWaitsMs - 1)
      await using successor = new IdMaker(lease.id, lease.claim()).start(flatOut)
      await waitUntil('it to run ahead, too', () => successor.exhausted > 10)
      expect(duplicatesAmong(maker.ids, successor.ids)).toBe(0)
    })

    it.skipIf(lost === 'renewals' && lagMs === 0)(
      'the control: its successor makes them again, when the change of history is hidden',
      { timeout },
      async () => {
        await using scene = await startScene(lost, lagMs)
        const { pair, maker } = scene
        await failOver(pair)
        await forgeHistory(pair.replica)
        await using newcomer = await workerNode(pair.replica.url, quiet)
        // What comes late is not to be refused for its clock.
        const lease = await newcomer.workerIds.acquire({ ...onlyOne, maxSkewMs: 30_000, waitMs: 0 })
        await using successor = new IdMaker(lease.id, lease.claim()).start(flatOut)
        await waitUntil('it to run ahead, too', () => successor.exhausted > 10)
        expect(duplicatesAmong(maker.ids, successor.ids)).toBeGreaterThan(0)
      },
    )
  },
)

describe
  .skipIf(!serversAvailable())
  .concurrent('over promotions to and fro of replicas that missed the last grants', () => {
    const failovers = figure({ slice: 2, full: 20 })

    it(`ids stay distinct and holders keep theirs, ${failovers} times`, { timeout }, async ({ annotate }) => {
      await using stack = new AsyncDisposableStack()
      let [master, replica] = [stack.use(await startServer()), stack.use(await startServer())]
      const links = new Map<RedisServer, TcpProxy>()
      for (const server of [master, replica]) links.set(server, stack.use(await tcpProxy(server.port)))
      const nodes: WorkerNode[] = []
      const leases: WorkerLease[] = []
      const makers: IdMaker[] = []
      const join = async (): Promise<void> => {
        const node = stack.use(await workerNode(master.url, quiet))
        const lease = await node.workerIds.acquire({ ...terms, isFirstStart: true })
        nodes.push(node)
        leases.push(lease)
        makers.push(new IdMaker(lease.id, lease.claim()).start(leases.length % 2 === 0 ? flatOut : gently))
      }
      await join()
      for (let failover = 0; failover < failovers; failover += 1) {
        const link = links.get(master)
        if (link === undefined) throw new Error('a server without a link')
        await follow(replica, master, link)
        await waitUntil('the time of newcomers', () => areNewcomersServed(master))
        await inStep(master)
        link.blackhole()
        await join()
        expect(await recordOn(replica, leases.at(-1)?.id ?? -1), 'the replica missed it').toBe('null')
        await failOver({ master, replica })
        await Promise.all(nodes.map((node) => node.moveTo(replica.url)))
        link.heal()
        await waitUntil('all to assert their ids again', async () => {
          const records = await Promise.all(leases.map(({ id }) => recordOn(replica, id)))
          return records.every((record, index) => record.includes(leases[index]?.grant.token ?? 'none'))
        })
        await master.restart()
        ;[master, replica] = [replica, master]
      }
      for (const maker of makers) await maker.stop()
      await annotate(`${makers.reduce((sum, { ids }) => sum + ids.length, 0)} ids`)
      expect(leases.filter(({ held }) => held)).toHaveLength(failovers + 1)
      expect(new Set(leases.map(({ id }) => id)).size).toBe(failovers + 1)
      expect(duplicatesAmong(...makers.map(({ ids }) => ids))).toBe(0)
    })

    async function areNewcomersServed(server: RedisServer): Promise<boolean> {
      const from = Number(await server.cli('HGET', table, 'from'))
      return from - terms.maxAheadMs <= Date.now()
    }
  })

describe.skipIf(!serversAvailable())('an acquire that is repeated with its token', () => {
  it('does not rely on a grant that a promoted replica remembers, because others may have had the id since', async () => {
    await using server = await startRedis()
    await using node = await workerNode(server.url)
    // Else what comes late is refused for its clock.
    const shortTerms = { ...terms, leaseMs: 200, quarantineMs: 0, maxSkewMs: 2_000 }
    const acquire = async (token: string): Promise<WorkerIdReply> => {
      const request = {
        token,
        ownerKey: token,
        terms: shortTerms,
        nowMs: Date.now(),
        range: 1,
        prefer: undefined,
      }
      return node.driver.acquire({ ...request, isFirstStart: true }, 1_000)
    }
    const first = await acquire('aa')
    expect(first.status).toBe('granted')
    expect(await acquire('aa'), 'the control').toMatchObject({ status: 'granted', id: 0 })
    const stale = await recordOn(server, 0)
    const next = await waitUntil('the next holder', async () => {
      const reply = await acquire('bb')
      return reply.status === 'granted' ? reply : undefined
    })
    // What a promoted replica has that missed the next holder.
    await server.cli('HSET', table, '0', stale, 'history', 'f00')
    expect(await acquire('aa')).toMatchObject({ status: 'exhausted' })
    const again = await waitUntil('a new grant', async () => {
      const reply = await acquire('aa')
      return reply.status === 'granted' ? reply : undefined
    })
    expect(again.floorMs).toBeGreaterThan(next.ceilingMs)
  })
})
