import { setTimeout as sleep } from 'node:timers/promises'
import {
  faultless,
  figure,
  type NodeChild,
  publishAt,
  publishWhile,
  type RabbitmqServer,
  serversAvailable,
  SetChecker,
  spawnNode,
  startRabbitmq,
  stolenMs,
  tcpProxy,
  waitUntil,
  type Witness,
} from '@multinode/testbed'
import { connect } from 'amqplib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RabbitmqPubSub } from '../src/index.ts'
import { BarePubSub } from './bare-pubsub.ts'
import { node } from './node.ts'
import { allArrived, publisher, watch } from './traffic.ts'

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

describe.skipIf(!serversAvailable())('signals', () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())

  describe.each(['stream', 'queue'] as const)('in mode %s', (mode) => {
    it(
      'are heard or covered by a gap, and none twice, when the server stands still for 4 s',
      { timeout: 60_000 },
      async ({ annotate }) => {
        const clusterName = `server-${mode}`
        await using one = await node(server.url, { clusterName, mode })
        await using other = await node(server.url, { clusterName, mode })
        const checker = new SetChecker()
        await watch(checker, one)
        await watch(checker, other)
        await using stack = new AsyncDisposableStack()
        const bare = stack.adopt(await connect(server.url), (model) => model.close())
        const channel = await bare.createChannel()
        let answered = false
        await Promise.all([
          publishAt(500, 3_500, [publisher(checker, one), publisher(checker, other)]),
          (async () => {
            await waitUntil('some', () => checker.published > 500)
            await server.pause()
            void channel.prefetch(1).then(() => (answered = true))
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
  })

  describe.concurrent.each(['stream', 'queue'] as const)('in mode %s', (mode) => {
    const stopMs = figure({ slice: 3_000, full: 30_000 })
    const blockMs = figure({ slice: 2_000, full: 5_000 })

    it.for([
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
      'are heard, and none twice, by a process that $what',
      { timeout: 120_000 },
      async ({ what, ms, begin, end }, { annotate }) => {
        const clusterName = `${what.replaceAll(/\W/g, '-')}-${mode}`
        await using sender = await node(server.url, { clusterName, mode })
        const env = { RABBITMQ_URL: server.url, MODE: mode, CLUSTER_NAME: clusterName }
        await using child = await spawnNode(listener, { env })
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
        const findings = await allArrived(checker, [sender])
        await annotate(JSON.stringify(findings))
        expect(findings).toEqual([{ seen: checker.published, gaps: 0, ...faultless }])
      },
    )

    it(
      'all reach both processes of one host that have no node id of their own',
      { timeout: 60_000 },
      async () => {
        const clusterName = `host-${mode}`
        await using sender = await node(server.url, { clusterName, mode })
        const env = { RABBITMQ_URL: server.url, MODE: mode, CLUSTER_NAME: clusterName }
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
      },
    )

    it(
      'all arrive when links are open and dead, which is noticed within 20 s, where a bare consumer hears nothing',
      { timeout: 90_000 },
      async ({ annotate }) => {
        await using proxy = await tcpProxy(server.port)
        const url = `amqp://127.0.0.1:${proxy.port}`
        const clusterName = `half-open-${mode}`
        await using sender = await node(server.url, { clusterName, mode })
        await using receiver = await node(url, { clusterName, mode })
        const { driver } = receiver
        if (!(driver instanceof RabbitmqPubSub)) throw new Error('another driver')
        const checker = new SetChecker()
        await watch(checker, receiver)
        await using bare = await BarePubSub.start(`bare-${clusterName}`, server.url, url)
        const publish = publisher(checker, sender)
        await publishAt(1_000, 20, [publish, bare.publish])
        await allArrived(checker, [sender])
        await bare.checker.arrived()
        proxy.blackhole()
        const silentAtMs = performance.now()
        await publishAt(1_000, 40, [publish, bare.publish])
        await waitUntil('it to be noticed', () => driver.native.state.status === 'down', {
          deadlineMs: 25_000,
        })
        const noticedAfterMs = performance.now() - silentAtMs
        await annotate(`${Math.round(noticedAfterMs)} ms`)
        expect(noticedAfterMs).toBeLessThan(20_000 + stolenMs())
        proxy.heal()
        expect(await allArrived(checker, [sender])).toEqual([{ seen: 30, gaps: 0, ...faultless }])
        expect(bare.lost, 'the control: an exclusive queue of a bare client').toBe(20)
      },
    )
  })
})
