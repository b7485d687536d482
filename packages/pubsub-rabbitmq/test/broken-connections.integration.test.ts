import { setTimeout as sleep } from 'node:timers/promises'
import {
  faultless,
  figure,
  publishAt,
  type RabbitmqServer,
  serversAvailable,
  SetChecker,
  startRabbitmq,
  tcpProxy,
  waitUntil,
  withLateness,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BarePubSub } from './bare-pubsub.ts'
import { type Node, node } from './node.ts'
import { allArrived, publisher, watch } from './traffic.ts'

describe.skipIf(!serversAvailable())('signals over connections that break', () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())

  const rounds = figure({ slice: 1, full: 10 })
  const count = figure({ slice: 3_000, full: 6_000 })

  describe.each(['stream', 'queue'] as const)('in mode %s', (mode) => {
    it(
      `all arrive, once and in order, ${count} of 3 nodes on 3 others while all connections are reset 10 times in 3 s`,
      { timeout: rounds * 90_000 },
      async ({ annotate }) => {
        for (let round = 0; round < rounds; round += 1) {
          await using proxy = await tcpProxy(server.port)
          await using stack = new AsyncDisposableStack()
          const url = `amqp://127.0.0.1:${proxy.port}`
          const clusterName = `resets-${mode}-${round}`
          const checker = new SetChecker()
          // Six at once begin with making what they share.
          const options = { clusterName, mode, callTimeoutMs: 15_000 }
          const open = async (): Promise<Node> => stack.use(await node(url, options))
          const senders = await Promise.all([open(), open(), open()])
          const receivers = await Promise.all([open(), open(), open()])
          const watched = await Promise.all(receivers.map((each) => watch(checker, each)))
          await using bare = await BarePubSub.start(`bare-${clusterName}`, server.url, url)
          const publishers = senders.map((each) => publisher(checker, each))
          await Promise.all([
            publishAt(1_500, count, publishers),
            publishAt(1_500, count, [bare.publish]),
            (async () => {
              for (let reset = 0; reset < 10; reset += 1) {
                await sleep(300)
                proxy.reset()
              }
            })(),
          ])
          const findings = await allArrived(checker, senders)
          await annotate(`buffered ${buffered(senders)}, bare lost ${bare.lost} of ${bare.checker.published}`)
          expect(watched.flatMap(({ gaps }) => gaps)).toEqual([])
          for (const finding of findings) expect(finding).toEqual({ seen: count, gaps: 0, ...faultless })
          expect(bare.lost, 'the control: an exclusive queue of a bare client').toBeGreaterThan(0)
        }
      },
    )

    it(
      'arrive although the connection breaks before the first one ever: 40 of 40',
      { timeout: 60_000 },
      async () => {
        await using proxy = await tcpProxy(server.port)
        const url = `amqp://127.0.0.1:${proxy.port}`
        const clusterName = `first-${mode}`
        await using sender = await node(server.url, { clusterName, mode })
        await using receiver = await node(url, { clusterName, mode })
        const checker = new SetChecker()
        await watch(checker, receiver)
        await using bare = await BarePubSub.start(`bare-${clusterName}`, server.url, url)
        const publish = publisher(checker, sender)
        proxy.refuse()
        proxy.reset()
        await Promise.all(Array.from({ length: 40 }, () => Promise.all([publish(), bare.publish()])))
        expect(checker.count('sent')).toBe(40)
        proxy.heal()
        expect(await allArrived(checker, [sender])).toEqual([{ seen: 40, gaps: 0, ...faultless }])
        expect(bare.lost, 'the control: an exclusive queue of a bare client').toBe(40)
      },
    )

    it('a node knows within a second that it hears nothing, and when it hears again', async () => {
      await using proxy = await tcpProxy(server.port)
      const clusterName = `deaf-${mode}`
      await using sender = await node(server.url, { clusterName, mode })
      await using receiver = await node(`amqp://127.0.0.1:${proxy.port}`, { clusterName, mode })
      const checker = new SetChecker()
      await watch(checker, receiver)
      expect(receiver.pubsub.isHearing).toBe(true)
      const told: boolean[] = []
      receiver.pubsub.onHearing((isHearing) => told.push(isHearing))
      const { result: knewAfterMs, mostMs } = await withLateness(
        () => sender.driver.ping(10_000),
        async () => {
          proxy.refuse()
          proxy.reset()
          const cutAtMs = performance.now()
          await waitUntil('it to know', () => told.length > 0)
          return performance.now() - cutAtMs
        },
      )
      expect(knewAfterMs).toBeLessThan(1_000 + mostMs)
      await publisher(checker, sender)()
      expect(receiver.pubsub.isIsolated, 'the control: what tells it after 10 s').toBe(false)
      proxy.heal()
      expect(await allArrived(checker, [sender])).toEqual([{ seen: 1, gaps: 0, ...faultless }])
      await waitUntil('it to hear again', () => receiver.pubsub.isHearing)
      expect(told).toEqual([false, true])
    })
  })
})

function buffered(nodes: readonly Node[]): number {
  return nodes.reduce((total, { pubsub }) => total + pubsub.stats().buffered, 0)
}
