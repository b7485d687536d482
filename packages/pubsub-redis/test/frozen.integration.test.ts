import {
  faultless,
  figure,
  type NodeChild,
  publishAt,
  publishWhile,
  serversAvailable,
  SetChecker,
  spawnNode,
  startRedis,
  waitUntil,
  withLateness,
  type Witness,
} from '@multinode/testbed'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { node } from './node.ts'
import { Relay } from './relay.ts'
import { allArrived, BarePubSub, publisher, watch } from './traffic.ts'

const clusterName = 'shop'
const listener = new URL('./fixtures/listener.ts', import.meta.url)

/** Hands on what the process says, for as long as it lives. */
async function listen(child: NodeChild, witness: Witness): Promise<void> {
  for (;;) {
    const line = await child.nextLine(/^(saw|gap)/, 120_000).catch(() => undefined)
    if (line === undefined) return
    if (line === 'gap') witness.gap()
    else witness.saw(JSON.parse(line.slice('saw '.length)))
  }
}

describe.skipIf(!serversAvailable()).concurrent('signals', () => {
  it(
    'are heard or covered by a gap, and none twice, when the server stands still for 4 s',
    { timeout: 60_000 },
    async ({ annotate }) => {
      await using server = await startRedis()
      await using one = await node(server.url, { clusterName })
      await using other = await node(server.url, { clusterName })
      const checker = new SetChecker()
      await watch(checker, one)
      await watch(checker, other)
      using stack = new DisposableStack()
      const bare = stack.adopt(new Redis(server.url), (client) => client.disconnect())
      await bare.ping()
      let answered = false
      await Promise.all([
        publishAt(500, 3_500, [publisher(checker, one), publisher(checker, other)]),
        (async () => {
          await waitUntil('some', () => checker.published > 500)
          await server.pause()
          void bare.ping().then(() => (answered = true))
          await sleep(4_000)
          expect(answered, 'the control: a bare client').toBe(false)
          server.resume()
        })(),
      ])
      const findings = await allArrived(checker, [one, other])
      await annotate(`${JSON.stringify(findings)} suppressed ${one.pubsub.stats().duplicates}`)
      for (const finding of findings) expect(finding).toMatchObject(faultless)
    },
  )

  const stopMs = figure({ slice: 3_000, full: 30_000 })
  const blockMs = figure({ slice: 2_000, full: 5_000 })

  it.each([
    {
      what: `is stopped for ${stopMs} ms`,
      ms: stopMs,
      begin: (child: NodeChild) => child.pause(),
      end: (child: NodeChild) => child.resume(),
    },
    {
      what: `does not turn its event loop for ${blockMs} ms`,
      ms: blockMs,
      begin: (child: NodeChild) => child.stall(blockMs),
      end: () => {},
    },
  ])(
    'are heard or covered by a gap, and none twice, by a process that $what',
    { timeout: 120_000 },
    async ({ ms, begin, end }) => {
      await using server = await startRedis()
      await using sender = await node(server.url, { clusterName })
      await using child = await spawnNode(listener, { env: { REDIS_URL: server.url } })
      await child.nextLine('ready')
      const checker = new SetChecker()
      const witness = checker.subscriber()
      void listen(child, witness)
      const publish = publisher(checker, sender)
      await publishWhile(200, [publish], async () => {
        await waitUntil('some', () => witness.seen > 50)
        await begin(child)
        const ended = sleep(ms).then(() => end(child))
        // More than a publisher sends at once that stood still itself for a moment.
        const half = (200 * ms) / 1_000 / 2
        const isBehind = (): boolean => checker.published - witness.seen > half
        await waitUntil('the control: it hears nothing', isBehind, { deadlineMs: 2 * ms })
        await ended
      })
      await publishAt(200, 100, [publish])
      const [finding] = await allArrived(checker, [sender])
      expect(finding).toEqual({ seen: checker.published, gaps: 0, ...faultless })
    },
  )

  it('all reach both processes of one host that have no node id of their own', async () => {
    await using server = await startRedis()
    await using sender = await node(server.url, { clusterName })
    const env = { REDIS_URL: server.url }
    await using one = await spawnNode(listener, { env })
    await using other = await spawnNode(listener, { env })
    await Promise.all([one.nextLine('ready'), other.nextLine('ready')])
    const checker = new SetChecker()
    void listen(one, checker.subscriber())
    void listen(other, checker.subscriber())
    await publishAt(500, 200, [publisher(checker, sender)])
    for (const finding of await allArrived(checker, [sender])) {
      expect(finding).toEqual({ seen: 200, gaps: 0, ...faultless })
    }
    await waitUntil('all nodes', () => sender.pubsub.nodes().length === 3)
    expect(new Set(sender.pubsub.nodes().map(({ incarnation }) => incarnation)).size).toBe(3)
  })

  it('all arrive after at most 8 s when links are open and dead, where a bare subscriber hears nothing', async ({
    annotate,
  }) => {
    await using server = await startRedis()
    await using relay = await Relay.start(server.url)
    await using sender = await node(server.url, { clusterName })
    await using receiver = await node(relay.url, { clusterName })
    const checker = new SetChecker()
    const { witness } = await watch(checker, receiver)
    using bare = await BarePubSub.start(new SetChecker(), server.url, relay.url)
    const publish = publisher(checker, sender)
    await publishAt(1_000, 20, [publish, bare.publish])
    await allArrived(checker, [sender])
    await bare.checker.arrived()
    relay.silence()
    const silentAtMs = performance.now()
    await publishAt(1_000, 40, [publish, bare.publish])
    const { sumMs: lateMs } = await withLateness(
      () => sender.driver.ping(10_000),
      () => waitUntil('the first one', () => witness.seen > 10, { everyMs: 5 }),
    )
    const noticedAfterMs = performance.now() - silentAtMs
    await annotate(`${Math.round(noticedAfterMs)} ms`)
    // And the time of a new connection.
    expect(noticedAfterMs).toBeLessThan(9_000 + lateMs)
    expect(await allArrived(checker, [sender])).toEqual([{ seen: 30, gaps: 0, ...faultless }])
    relay.reset()
    expect(bare.lost, 'the control: plain PUBLISH and SUBSCRIBE').toBe(20)
  })
})
