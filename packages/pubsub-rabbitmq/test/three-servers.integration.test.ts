import { setTimeout as sleep } from 'node:timers/promises'
import {
  faultless,
  figure,
  publishAt,
  publishWhile,
  serversAvailable,
  SetChecker,
  startRabbitmq,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { BarePubSub } from './bare-pubsub.ts'
import { type Node, node } from './node.ts'
import { runConformance } from './run-conformance.ts'
import { allArrived, publisher, watch } from './traffic.ts'

// All that needs three servers, because they take half a minute to start.
describe.skipIf(!serversAvailable())('on three servers', async () => {
  const cluster = await startRabbitmq({ nodes: 3 })
  afterAll(() => cluster.stop())
  const [one, ...two] = cluster.nodes
  if (one === undefined) throw new Error('three were started')
  runConformance('rabbitmq cluster', [one, ...two], figure({ slice: 1, full: 2 }))

  const open = (clusterName: string, mode: 'stream' | 'queue'): Promise<Node> =>
    node('', { clusterName, mode, urls: cluster.urls })
  const kills = figure({ slice: 1, full: 8 })

  it(
    `all arrive, once and in one order, over ${kills} deaths of the stream's leader under 200/s`,
    { timeout: 60_000 + kills * 60_000 },
    async ({ annotate }) => {
      const clusterName = 'leaders'
      await using stack = new AsyncDisposableStack()
      const nodes: Node[] = []
      for (let each = 0; each < 3; each += 1) nodes.push(stack.use(await open(clusterName, 'stream')))
      const checker = new SetChecker()
      const watched = await Promise.all(nodes.map((each) => watch(checker, each)))
      const orders = await Promise.all(nodes.map(record))
      const first = await cluster.leaderOf(`${clusterName}.bus.log`)
      const other = cluster.nodes.find((each) => each !== first)
      await using bare = await BarePubSub.start('bare', other?.url ?? '', first.url)
      const publishers = nodes.map((each) => publisher(checker, each))
      for (let kill = 0; kill < kills; kill += 1) {
        let stalls: number[] = []
        await Promise.all([
          publishAt(200, figure({ slice: 2_000, full: 3_000 }), publishers),
          publishWhile(20, [bare.publish], async () => {
            await sleep(2_000)
            for (const each of orders) each.longestMs = 0
            const leader = await cluster.killLeader(`${clusterName}.bus.log`)
            await leader.restart()
            await cluster.ready()
            stalls = orders.map(({ longestMs }) => Math.round(longestMs))
          }),
        ])
        await annotate(`stalls ${stalls.join(', ')} ms`)
      }
      const findings = await allArrived(checker, nodes)
      await annotate(
        `${JSON.stringify(findings)} ${JSON.stringify(watched.map(({ gaps }) => gaps))}, bare lost ${bare.lost}`,
      )
      for (const finding of findings) expect(finding).toMatchObject(faultless)
      expect(bare.lost, 'the control: an exclusive queue on the first leader').toBeGreaterThan(0)
      for (const { marks } of orders) {
        const heard = new Set(marks)
        const common = orders[0]?.marks.filter((mark) => heard.has(mark))
        const ofFirst = new Set(common)
        expect(marks.filter((mark) => ofFirst.has(mark))).toEqual(common)
      }
    },
  )

  it(
    'a node is told of a gap, and goes on with another queue, when the server dies that has its own',
    { timeout: 120_000 },
    async ({ annotate }) => {
      const clusterName = 'homes'
      await using stack = new AsyncDisposableStack()
      const nodes: Node[] = []
      for (let each = 0; each < 3; each += 1) nodes.push(stack.use(await open(clusterName, 'queue')))
      const checker = new SetChecker()
      const watched = await Promise.all(nodes.map((each) => watch(checker, each)))
      const publishers = nodes.map((each) => publisher(checker, each))
      const homes = await Promise.all(
        (await queuesOf(clusterName)).map(async (name) => cluster.leaderOf(name)),
      )
      const [victim] = homes
      if (victim === undefined) throw new Error('there is no queue')
      const hit = homes.filter((each) => each === victim).length
      await Promise.all([
        publishAt(200, 1_400, publishers),
        (async () => {
          await waitUntil('some', () => checker.published >= 300)
          await victim.kill()
        })(),
      ])
      await waitUntil('those to be told', () => watched.filter(({ gaps }) => gaps.length > 0).length === hit)
      const seen = watched.map(({ witness }) => witness.seen)
      await publishAt(200, 30, publishers)
      const findings = await allArrived(checker, nodes)
      await annotate(
        `${hit} of 3 hit, ${JSON.stringify(findings)} ${JSON.stringify(watched.map(({ gaps }) => gaps))}`,
      )
      for (const finding of findings) expect(finding).toMatchObject(faultless)
      for (const [index, { witness, gaps }] of watched.entries()) {
        expect(witness.seen - (seen[index] ?? 0), 'it hears again').toBeGreaterThanOrEqual(30)
        expect(gaps.length).toBeLessThanOrEqual(1)
      }
      await victim.restart()
      await cluster.ready()
      await publishAt(200, 30, publishers)
      for (const finding of await allArrived(checker, nodes)) expect(finding).toMatchObject(faultless)
      expect(
        watched.filter(({ gaps }) => gaps.length > 0),
        'nobody is told again',
      ).toHaveLength(hit)
    },
  )

  async function queuesOf(clusterName: string): Promise<string[]> {
    const queues = (await cluster.nodes[0]?.queues()) ?? []
    return queues.map(({ name }) => name).filter((name) => name.startsWith(`${clusterName}.bus.`))
  }
})

interface Order {
  readonly marks: string[]
  sinceMs: number
  longestMs: number
}

/** What a node hears in which order, and how long it heard nothing. */
async function record({ pubsub }: Node): Promise<Order> {
  const order: Order = { marks: [], sinceMs: performance.now(), longestMs: 0 }
  await pubsub.subscribe(
    '#',
    ({ payload }) => {
      const nowMs = performance.now()
      order.marks.push(JSON.stringify(payload))
      order.longestMs = Math.max(order.longestMs, nowMs - order.sinceMs)
      order.sinceMs = nowMs
    },
    { onGap: 'ignore', self: 'include', maxQueue: 100_000 },
  )
  return order
}
