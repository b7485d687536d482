import { setTimeout as sleep } from 'node:timers/promises'
import type { NodesChange } from '@multinode/core'
import {
  faultless,
  figure,
  publishAt,
  type RabbitmqServer,
  serversAvailable,
  SetChecker,
  spawnNode,
  startRabbitmq,
  tcpProxy,
  waitUntil,
  withLateness,
} from '@multinode/testbed'
import { type ChannelModel, connect } from 'amqplib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Node, node } from './node.ts'
import { allArrived, publisher, watch } from './traffic.ts'

const listener = new URL('./fixtures/listener.ts', import.meta.url)
const manyNodes = new URL('./fixtures/many-nodes.ts', import.meta.url)

/** How often a node was said to be gone. */
function countDowns({ pubsub }: Node): { readonly downs: string[] } {
  const downs: string[] = []
  pubsub.onNodes(({ left }: NodesChange) => downs.push(...left.map(({ nodeId }) => nodeId)))
  return { downs }
}

describe.skipIf(!serversAvailable())('a node', () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())

  it('makes a log anew that had other limits and was deleted', async () => {
    const clusterName = 'deleted'
    await using stack = new AsyncDisposableStack()
    const bare = await (await bareModel(stack)).createChannel()
    const log = `${clusterName}.bus.log`
    const limits = { 'x-queue-type': 'stream', 'x-max-length-bytes': 12_345_678 }
    await bare.assertQueue(log, { durable: true, arguments: limits })
    await using one = await node(server.url, { clusterName })
    const seen: unknown[] = []
    await one.pubsub.subscribe('news', ({ payload }) => void seen.push(payload), {
      self: 'include',
      onGap: 'ignore',
    })
    const changes: boolean[] = []
    one.pubsub.onHearing((isHearing) => void changes.push(isHearing))
    await bare.deleteQueue(log)
    await waitUntil('it to hear nothing for a moment', () => changes.includes(false))
    await waitUntil('it to hear again', () => one.pubsub.isHearing)
    await one.pubsub.publish('news', 'again')
    await waitUntil('the signal', () => seen.length > 0)
    expect(seen).toEqual(['again'])
  })

  it('tells of messages that no node published once a second', async () => {
    const clusterName = 'foreign'
    const reported: unknown[] = []
    const report = (error: unknown): unknown => reported.push(error)
    await using stack = new AsyncDisposableStack()
    const bare = await (await bareModel(stack)).createConfirmChannel()
    await using one = await node(server.url, { clusterName, report })
    const seen: unknown[] = []
    await one.pubsub.subscribe('news', ({ payload }) => void seen.push(payload), {
      self: 'include',
      onGap: 'ignore',
    })
    const startedAtMs = performance.now()
    for (let n = 0; n < 200; n += 1) {
      bare.publish(`${clusterName}.bus`, 'news', Buffer.from('foreign'))
      bare.publish(`${clusterName}.presence`, '', Buffer.from('foreign'))
    }
    await bare.waitForConfirms()
    await one.pubsub.publish('news', 'ours')
    await waitUntil('the signal behind them', () => seen.includes('ours'))
    expect(reported.length).toBeGreaterThan(0)
    expect(reported.length).toBeLessThanOrEqual(2 + (performance.now() - startedAtMs) / 1_000)
  })

  it.concurrent(
    'that was killed is gone for the others after 7 to 13 s',
    { timeout: 60_000 },
    async ({ annotate }) => {
      const clusterName = 'killed'
      await using stack = new AsyncDisposableStack()
      const bare = await (await bareModel(stack)).createChannel()
      await using one = await node(server.url, { clusterName })
      await using other = await node(server.url, { clusterName })
      const env = { RABBITMQ_URL: server.url, CLUSTER_NAME: clusterName }
      await using child = await spawnNode(listener, { env })
      await child.nextLine('ready')
      const both = [one, other]
      await waitUntil('all', () => both.every(({ pubsub }) => pubsub.nodes().length === 3))
      await child.kill()
      const killedAtMs = performance.now()
      const { result: goneAfterMs, mostMs } = await withLateness(
        () => bare.prefetch(1),
        () =>
          Promise.all(
            both.map(async ({ pubsub }) => {
              await waitUntil('it to be gone', () => pubsub.nodes().length === 2)
              return Math.round(performance.now() - killedAtMs)
            }),
          ),
      )
      await annotate(`${goneAfterMs.join(', ')} ms, the machine late by ${Math.round(mostMs)} ms`)
      for (const each of goneAfterMs) {
        expect(each).toBeGreaterThan(6_900)
        // It is looked for every three seconds, and the machine may be late at each of these looks.
        expect(each).toBeLessThan(13_500 + 5 * mostMs)
      }
    },
  )

  it.concurrent(
    'that leaves is gone for the others within 1 s',
    { timeout: 60_000 },
    async ({ annotate }) => {
      const clusterName = 'leaves'
      await using stack = new AsyncDisposableStack()
      const bare = await (await bareModel(stack)).createChannel()
      await using one = await node(server.url, { clusterName })
      const env = { RABBITMQ_URL: server.url, CLUSTER_NAME: clusterName }
      await using child = await spawnNode(listener, { env })
      await child.nextLine('ready')
      await waitUntil('both', () => one.pubsub.nodes().length === 2)
      const { downs } = countDowns(one)
      const { result: goneAfterMs, mostMs } = await withLateness(
        () => bare.prefetch(1),
        async () => {
          child.send('close')
          await child.nextLine('closed')
          const closedAtMs = performance.now()
          await waitUntil('it to be gone', () => downs.length === 1, { everyMs: 5 })
          return performance.now() - closedAtMs
        },
      )
      await annotate(`${Math.round(goneAfterMs)} ms`)
      expect(goneAfterMs).toBeLessThan(1_000 + mostMs)
      expect(one.pubsub.nodes()).toHaveLength(1)
    },
  )

  it.concurrent(
    'that is cut off is told that it is isolated, and that it is not when it is back, and takes nobody for dead',
    { timeout: 90_000 },
    async ({ annotate }) => {
      const clusterName = 'cut-off'
      await using proxy = await tcpProxy(server.port)
      await using one = await node(`amqp://127.0.0.1:${proxy.port}`, { clusterName })
      await using other = await node(server.url, { clusterName })
      await waitUntil('both', () => one.pubsub.nodes().length === 2 && other.pubsub.nodes().length === 2)
      const told: boolean[] = []
      one.pubsub.onNodes(({ isIsolated }) => told.push(isIsolated))
      const own = countDowns(one)
      const { downs } = countDowns(other)
      proxy.blackhole()
      const cutAtMs = performance.now()
      await waitUntil('it to be told', () => told.length > 0, { deadlineMs: 25_000 })
      await annotate(`told after ${Math.round(performance.now() - cutAtMs)} ms`)
      expect(told).toEqual([true])
      await waitUntil('it to be gone', () => downs.length > 0)
      expect(downs, 'the control').toEqual([one.nodeId])
      proxy.heal()
      await waitUntil('it to be told', () => told.includes(false), { deadlineMs: 30_000 })
      await waitUntil('both', () => one.pubsub.nodes().length === 2 && other.pubsub.nodes().length === 2)
      expect(own.downs).toEqual([])
    },
  )

  const stallsMs = figure({ slice: 6_000, full: 180_000 })

  it.concurrent(
    `of 20 that stands still for 500 ms again and again is never gone for the others, in ${stallsMs} ms`,
    { timeout: stallsMs + 60_000 },
    async () => {
      const clusterName = 'stalls'
      await using one = await node(server.url, { clusterName })
      const env = { RABBITMQ_URL: server.url, CLUSTER_NAME: clusterName, NODES: '10' }
      await using child = await spawnNode(manyNodes, { env })
      await using another = await spawnNode(manyNodes, { env })
      await Promise.all([child.nextLine('ready', 30_000), another.nextLine('ready', 30_000)])
      await waitUntil('all', () => one.pubsub.nodes().length === 21)
      const { downs } = countDowns(one)
      const endMs = performance.now() + stallsMs
      for (let stalls = 0; stalls < 6 || performance.now() < endMs; stalls += 2) {
        await child.stall(500)
        await sleep(300)
        await another.stall(500)
        await sleep(700)
      }
      expect(downs).toEqual([])
      expect(one.pubsub.nodes()).toHaveLength(21)
    },
  )

  it(
    'is not said to be gone because the server was away for some seconds',
    { timeout: 120_000 },
    async ({ annotate }) => {
      const clusterName = 'restarts'
      await using stack = new AsyncDisposableStack()
      const nodes: Node[] = []
      for (let each = 0; each < 4; each += 1) nodes.push(stack.use(await node(server.url, { clusterName })))
      await waitUntil('all', () => nodes.every(({ pubsub }) => pubsub.nodes().length === 4))
      const counts = nodes.map(countDowns)
      const killedAtMs = performance.now()
      await server.kill()
      await server.restart()
      await annotate(`away for ${Math.round(performance.now() - killedAtMs)} ms`)
      const checker = new SetChecker()
      const publishers = nodes.map((each) => publisher(checker, each))
      for (const each of nodes) await watch(checker, each)
      await publishAt(100, 40, publishers)
      for (const finding of await allArrived(checker, nodes)) expect(finding).toMatchObject(faultless)
      // The longest after which somebody could be taken for dead that was heard last before the restart.
      await sleep(4_000)
      expect(counts.flatMap(({ downs }) => downs)).toEqual([])
      expect(nodes.map(({ pubsub }) => pubsub.nodes().length)).toEqual([4, 4, 4, 4])
    },
  )

  it(
    'is not taken for dead while the server takes no messages for 12 s, and what it published meanwhile arrives, in either mode',
    { timeout: 120_000 },
    async ({ annotate }) => {
      await using stack = new AsyncDisposableStack()
      const pairs = await Promise.all([pairOf('stream', stack), pairOf('queue', stack)])
      await Promise.all(pairs.map(({ publishers }) => publishAt(500, 100, publishers)))
      for (const { checker, nodes } of pairs) await allArrived(checker, nodes)
      const channel = await (await bareModel(stack)).createConfirmChannel()
      let confirmed = false
      stack.defer(() => server.memoryAlarm(false))
      await server.memoryAlarm(true)
      channel.publish('', 'nobody', Buffer.from('bare'), {}, () => (confirmed = true))
      await Promise.all(pairs.map(({ publishers }) => publishAt(20, 12 * 20, publishers)))
      expect(confirmed, 'the control: a bare client').toBe(false)
      for (const { checker } of pairs) {
        await waitUntil('all to be buffered', () => checker.count('pending') === 0)
        expect(checker.count('buffered')).toBe(12 * 20)
      }
      await server.memoryAlarm(false)
      for (const { mode, checker, nodes, watched, counts } of pairs) {
        const findings = await allArrived(checker, nodes)
        const gaps = watched.map((each) => each.gaps)
        await annotate(`${mode}: ${JSON.stringify(findings)} ${JSON.stringify(gaps)}`)
        for (const finding of findings) expect(finding).toEqual({ seen: 340, gaps: 0, ...faultless })
        expect(counts.flatMap(({ downs }) => downs)).toEqual([])
        expect(nodes.map(({ pubsub }) => pubsub.nodes().length)).toEqual([2, 2])
      }
    },
  )

  /** A connection that is not ours. */
  async function bareModel(stack: AsyncDisposableStack): Promise<ChannelModel> {
    return stack.adopt(await connect(server.url), (model) => model.close())
  }

  async function pairOf(mode: 'stream' | 'queue', stack: AsyncDisposableStack) {
    const clusterName = `alarm-${mode}`
    const nodes = [
      stack.use(await node(server.url, { clusterName, mode })),
      stack.use(await node(server.url, { clusterName, mode })),
    ]
    const checker = new SetChecker()
    const watched = await Promise.all(nodes.map((each) => watch(checker, each)))
    await waitUntil('both', () => nodes.every(({ pubsub }) => pubsub.nodes().length === 2))
    const publishers = nodes.map((each) => publisher(checker, each))
    return { mode, nodes, checker, watched, publishers, counts: nodes.map(countDowns) }
  }
})
