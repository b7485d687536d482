import { createHash } from 'node:crypto'
import {
  faultless,
  figure,
  publishAt,
  type RedisCluster,
  type RedisServer,
  serversAvailable,
  SetChecker,
  startCluster,
  startSentinel,
  stolenMs,
  waitUntil,
  withOwnLateness,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { publishLua } from '../src/publish.lua.ts'
import { type Node, node } from './node.ts'
import { Relay } from './relay.ts'
import { allArrived, allSent, publisher, watch } from './traffic.ts'

const clusterName = 'shop'
const log = '{shop:pubsub:0}:log'
const publishHash = createHash('sha1').update(publishLua).digest('hex')
const downAfterMs = 1_000

describe.skipIf(!serversAvailable()).concurrent('behind Sentinels', { timeout: 240_000 }, () => {
  const failovers = figure({ slice: 1, full: 5 })

  it(`nothing is lost in silence over ${failovers} deaths of the master at 1,000/s, and the others go on soon`, async ({
    annotate,
  }) => {
    await using sentinel = await startSentinel({ replicas: 1, downAfterMs })
    await using one = await node(sentinel.url, { clusterName })
    await using other = await node(sentinel.url, { clusterName })
    const checker = new SetChecker()
    const watched = await Promise.all([watch(checker, one), watch(checker, other)])
    let stallMs = 0
    let lastSeenMs = performance.now()
    await one.pubsub.subscribe(
      '#',
      () => {
        stallMs = Math.max(stallMs, performance.now() - lastSeenMs)
        lastSeenMs = performance.now()
      },
      { onGap: 'ignore' },
    )
    for (let failover = 0; failover < failovers; failover += 1) {
      await sentinel.ready()
      lastSeenMs = performance.now()
      stallMs = 0
      let awayMs = 0
      const master = await sentinel.master()
      const bufferedBefore = one.pubsub.stats().buffered + other.pubsub.stats().buffered
      await Promise.all([
        publishAt(1_000, 5_000, [publisher(checker, one), publisher(checker, other)]),
        (async () => {
          await waitUntil('some', () => checker.published > failover * 5_000 + 500)
          const killedAtMs = performance.now()
          await killOf(master, one)
          await sentinel.masterAfter(master)
          awayMs = performance.now() - killedAtMs
        })(),
      ])
      const findings = await allArrived(checker, [one, other])
      await annotate(
        `away ${Math.round(awayMs)} ms, stall ${Math.round(stallMs)} ms, ${JSON.stringify(findings)}, ${JSON.stringify(watched.map(({ gaps }) => gaps))}`,
      )
      for (const finding of findings) expect(finding).toMatchObject(faultless)
      const buffered = one.pubsub.stats().buffered + other.pubsub.stats().buffered
      expect(buffered - bufferedBefore, 'the control: nobody could publish').toBeGreaterThan(0)
      expect(stallMs).toBeLessThan(awayMs + 2_000 + stolenMs())
      if (failover + 1 < failovers) await master.restart()
    }
  })

  it(
    'a node is told that what it had not read is lost with a replica that was behind, and so is one that had read it',
    { timeout: 60_000 },
    async ({ annotate }) => {
      await using sentinel = await startSentinel({ replicas: 1, downAfterMs })
      await using sender = await node(sentinel.url, { clusterName })
      await using slow = await node(sentinel.url, { clusterName })
      await using fast = await node(sentinel.url, { clusterName })
      const checker = new SetChecker()
      let release = (): void => {}
      const released = new Promise<void>((resolve) => (release = resolve))
      const blocked = await watch(checker, slow, { overflow: 'block', maxQueue: 1 })
      await slow.pubsub.subscribe('orders.*', () => released, {
        onGap: 'ignore',
        overflow: 'block',
        maxQueue: 1,
      })
      const reading = await watch(checker, fast)
      const publish = publisher(checker, sender)
      await publishAt(1_000, 20, [publish])
      await allSent(checker, [sender])
      const master = await sentinel.master()
      const replica = sentinel.nodes.find((each) => each !== master)
      if (replica === undefined) throw new Error('there is no replica')
      await waitUntil(
        'the replica to be in step',
        async () => (await entries(replica)) === (await entries(master)),
      )
      // Sentinel mends this in some seconds, but the master dies before.
      await replica.cli('REPLICAOF', '127.0.0.1', '1')
      await publishAt(1_000, 20, [publish])
      await allSent(checker, [sender])
      const [before, after] = [await entries(master), await entries(replica)]
      expect(before - after, 'the control: what was acknowledged is not there any more').toBe(20)
      await sentinel.killMaster()
      expect(await sentinel.masterAfter(master)).toBe(replica)
      release()
      const findings = await allArrived(checker, [sender])
      await waitUntil('both to be told', () => blocked.gaps.length > 0 && reading.gaps.length > 0)
      await publishAt(1_000, 20, [publish])
      for (const finding of await allArrived(checker, [sender])) expect(finding).toMatchObject(faultless)
      await annotate(`${JSON.stringify(findings)} ${JSON.stringify([blocked.gaps, reading.gaps])}`)
    },
  )
})

describe.skipIf(!serversAvailable())('on a Cluster', { timeout: 60_000 }, async () => {
  const cluster = await startCluster({ masters: 3, replicasEach: 1 })
  afterAll(() => cluster.stop())

  it('all arrive, once and in order, while the slot of the log moves, where a client of one node is refused', async () => {
    await using one = await node(cluster.url, { clusterName })
    await using other = await node(cluster.url, { clusterName })
    const checker = new SetChecker()
    await watch(checker, one)
    await watch(checker, other)
    const first = await cluster.masterOf(log)
    using stack = new DisposableStack()
    const bare = stack.adopt(new Redis(first.url), (client) => client.disconnect())
    let moves = 0
    await Promise.all([
      publishAt(1_000, 3_000, [publisher(checker, one), publisher(checker, other)]),
      (async () => {
        for (const slot of [0, 8_000, 16_000]) {
          const to = await cluster.masterOf(slot)
          if (to === (await cluster.masterOf(log))) continue
          moves += 1
          await waitUntil('some more', () => checker.published >= moves * 700)
          await cluster.moveSlot(log, to)
        }
      })(),
    ])
    for (const finding of await allArrived(checker, [one, other])) {
      expect(finding).toEqual({ seen: 3_000, gaps: 0, ...faultless })
    }
    const moved = (await cluster.masterOf(log)) === first ? 'OK' : 'MOVED'
    const answer: unknown = await bare.xlen(log).then(
      () => 'OK',
      (error: unknown) => String(error),
    )
    expect(answer, 'the control').toContain(moved)
  })

  it('all arrive, once and in order, when the slot of the log moves before the 10th of 20 in one pipeline', async () => {
    const master = await cluster.masterOf(log)
    const masters = await Promise.all([0, 16_000].map((slot) => cluster.masterOf(slot)))
    const to = masters.find((each) => each !== master)
    if (to === undefined) throw new Error('there is no other master')
    await using relay = await Relay.start(master.url)
    await announce(cluster, master, Number(new URL(relay.url).port))
    await using sender = await node(cluster.url, { clusterName })
    await using receiver = await node(cluster.url, { clusterName })
    const checker = new SetChecker()
    await watch(checker, receiver)
    const publish = publisher(checker, sender)
    await publish()
    const before = await refusals(master)
    const passed = relay.stopAt({
      text: publishHash,
      nth: 10,
      async before() {
        await announce(cluster, master, 0)
        await cluster.moveSlot(log, to)
      },
      after: () => waitUntil('the refusal', async () => (await refusals(master)) > before),
    })
    await Promise.all(Array.from({ length: 20 }, publish))
    await passed
    const moved = (await refusals(master)) - before
    expect(moved, 'the control: some of them were sent elsewhere').toBeGreaterThan(0)
    const [finding] = await allArrived(checker, [sender])
    expect(finding).toEqual({ seen: 21, gaps: 0, ...faultless })
  })

  it('nothing is lost in silence when the master of the log dies at 1,000/s', async ({ annotate }) => {
    await using one = await node(cluster.url, { clusterName })
    await using other = await node(cluster.url, { clusterName })
    const checker = new SetChecker()
    const watched = [await watch(checker, one), await watch(checker, other)]
    const master = await cluster.masterOf(log)
    await Promise.all([
      publishAt(1_000, 5_000, [publisher(checker, one), publisher(checker, other)]),
      (async () => {
        await waitUntil('some', () => checker.published > 500)
        await killOf(master, one)
      })(),
    ])
    await waitUntil('another master', async () => (await cluster.masterOf(log)) !== master)
    const findings = await allArrived(checker, [one, other])
    expect(one.pubsub.isHearing).toBe(true)
    await annotate(`${JSON.stringify(findings)} ${JSON.stringify(watched.map(({ gaps }) => gaps))}`)
    for (const finding of findings) expect(finding).toMatchObject(faultless)
    const buffered = one.pubsub.stats().buffered + other.pubsub.stats().buffered
    expect(buffered, 'the control: it was away').toBeGreaterThan(0)
  })
})

/** The node knows at once that it is deaf, and not only when it is isolated; another master may make it hear again before anybody looks. */
async function killOf(master: RedisServer, { pubsub }: Node): Promise<void> {
  await waitUntil('it to hear', () => pubsub.isHearing)
  const told: boolean[] = []
  pubsub.onHearing((isHearing) => told.push(isHearing))
  await master.kill()
  const fromMs = performance.now()
  const { sumMs: lateMs } = await withOwnLateness(() => waitUntil('it to know', () => told.length > 0))
  expect(performance.now() - fromMs).toBeLessThan(1_000 + lateMs)
  expect(pubsub.isIsolated).toBe(false)
}

async function entries(server: RedisServer): Promise<number> {
  const client = new Redis(server.url)
  try {
    return await client.xlen(log)
  } finally {
    client.disconnect()
  }
}

/** Where clients go for it; 0 for its own port. Resolves when all nodes say so. */
async function announce({ nodes }: RedisCluster, of: RedisServer, port: number): Promise<void> {
  await of.cli('CONFIG', 'SET', 'cluster-announce-port', String(port))
  await waitUntil('all nodes to say so', async () => {
    const views = await Promise.all(nodes.map((each) => each.cli('CLUSTER', 'NODES')))
    return views.every((view) => String(view).includes(`127.0.0.1:${port || of.port}@`))
  })
}

/** How many commands it sent elsewhere. */
async function refusals(server: RedisServer): Promise<number> {
  const info = String(await server.cli('INFO', 'errorstats'))
  return Number(/errorstat_MOVED:count=(\d+)/.exec(info)?.[1] ?? 0)
}
