import { setTimeout as sleep } from 'node:timers/promises'
import { createCluster, type NodesChange } from '@multinode/core'
import {
  figure,
  serversAvailable,
  spawnNode,
  startRedis,
  tcpProxy,
  waitUntil,
  Wire,
  withLateness,
} from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { redisPubSub } from '../src/index.ts'
import { type Node, node } from './node.ts'

const clusterName = 'shop'
const listener = new URL('./fixtures/listener.ts', import.meta.url)
const manyNodes = new URL('./fixtures/many-nodes.ts', import.meta.url)

/** How often a node was said to be gone. */
function countDowns({ pubsub }: Node): { readonly downs: string[] } {
  const downs: string[] = []
  pubsub.onNodes(({ left }: NodesChange) => downs.push(...left.map(({ nodeId }) => nodeId)))
  return { downs }
}

describe.skipIf(!serversAvailable()).concurrent('a node', () => {
  it('that was killed is gone for the others after 7 to 13 s', { timeout: 40_000 }, async ({ annotate }) => {
    await using server = await startRedis()
    await using one = await node(server.url, { clusterName })
    await using other = await node(server.url, { clusterName })
    await using child = await spawnNode(listener, { env: { REDIS_URL: server.url } })
    await child.nextLine('ready')
    const both = [one, other]
    await waitUntil('all', () => both.every(({ pubsub }) => pubsub.nodes().length === 3))
    await child.kill()
    const killedAtMs = performance.now()
    const { result: goneAfterMs, sumMs: lateMs } = await withLateness(
      () => server.cli('PING'),
      () =>
        Promise.all(
          both.map(async ({ pubsub }) => {
            await waitUntil('it to be gone', () => pubsub.nodes().length === 2)
            return Math.round(performance.now() - killedAtMs)
          }),
        ),
    )
    await annotate(`${goneAfterMs.join(', ')} ms`)
    for (const each of goneAfterMs) {
      expect(each).toBeGreaterThan(6_900)
      expect(each).toBeLessThan(13_500 + lateMs)
    }
  })

  it('that leaves is gone for the others within 1 s', async ({ annotate }) => {
    await using server = await startRedis()
    await using one = await node(server.url, { clusterName })
    await using child = await spawnNode(listener, { env: { REDIS_URL: server.url } })
    await child.nextLine('ready')
    await waitUntil('both', () => one.pubsub.nodes().length === 2)
    const { downs } = countDowns(one)
    child.send('close')
    await child.nextLine('closed')
    const closedAtMs = performance.now()
    const { sumMs: lateMs } = await withLateness(
      () => server.cli('PING'),
      () => waitUntil('it to be gone', () => downs.length === 1, { everyMs: 5 }),
    )
    const goneAfterMs = performance.now() - closedAtMs
    await annotate(`${Math.round(goneAfterMs)} ms`)
    expect(goneAfterMs).toBeLessThan(1_000 + lateMs)
    expect(one.pubsub.nodes()).toHaveLength(1)
  })

  it(
    'that is cut off is told that it is isolated, and that it is not when it is back',
    { timeout: 60_000 },
    async ({ annotate }) => {
      await using server = await startRedis()
      await using proxy = await tcpProxy(server.port)
      await using one = await node(`redis://127.0.0.1:${proxy.port}`, { clusterName })
      await using other = await node(server.url, { clusterName })
      await waitUntil('both', () => one.pubsub.nodes().length === 2 && other.pubsub.nodes().length === 2)
      const told: boolean[] = []
      one.pubsub.onNodes(({ isIsolated }) => told.push(isIsolated))
      const { downs } = countDowns(other)
      proxy.blackhole()
      const cutAtMs = performance.now()
      await waitUntil('it to be told', () => told.length > 0, { deadlineMs: 25_000 })
      await annotate(`told after ${Math.round(performance.now() - cutAtMs)} ms`)
      expect(told).toEqual([true])
      await waitUntil('it to be gone', () => downs.length > 0)
      expect(downs, 'the control').toEqual([one.nodeId])
      proxy.heal()
      await waitUntil('it to be told', () => told.includes(false), { deadlineMs: 20_000 })
      await waitUntil('both', () => one.pubsub.nodes().length === 2 && other.pubsub.nodes().length === 2)
    },
  )

  const stallsMs = figure({ slice: 6_000, full: 180_000 })

  it(
    `of 20 that stands still for 500 ms again and again is never gone for the others, in ${stallsMs} ms`,
    { timeout: stallsMs + 40_000 },
    async () => {
      await using server = await startRedis()
      await using one = await node(server.url, { clusterName })
      const env = { REDIS_URL: server.url, NODES: '10' }
      await using child = await spawnNode(manyNodes, { env })
      await using another = await spawnNode(manyNodes, { env })
      await Promise.all([child.nextLine('ready'), another.nextLine('ready')])
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

  it('is not said to be gone because Redis lost its data, before it had the time to say that it is there', async () => {
    await using server = await startRedis()
    await using stack = new AsyncDisposableStack()
    const nodes: Node[] = []
    for (let each = 0; each < 4; each += 1) nodes.push(stack.use(await node(server.url, { clusterName })))
    await waitUntil('all', () => nodes.every(({ pubsub }) => pubsub.nodes().length === 4))
    const counts = nodes.map(countDowns)
    await server.flush()
    const known: number[] = []
    await waitUntil('all to be there again', async () => {
      known.push(Number(await server.cli('HLEN', '{shop:pubsub:0}:nodes')))
      return known.at(-1) === 4
    })
    expect(Math.min(...known), 'the control: Redis knew only some').toBeLessThan(4)
    expect(counts.flatMap(({ downs }) => downs)).toEqual([])
  })

  it('that is idle sends at most one command a second', async () => {
    await using server = await startRedis()
    // Before anybody else: a client in MONITOR mode stumbles over what comes with its first answer.
    using wire = await Wire.tap(server)
    const cluster = await createCluster({
      plugins: [redisPubSub({ url: server.url })],
      env: { CLUSTER_NAME: clusterName },
    })
    let hasBegun = false
    await cluster.pubsub.subscribe('#', () => void (hasBegun = true), { onGap: 'ignore', self: 'include' })
    await cluster.pubsub.publish('begin')
    await waitUntil('all that a start takes', () => hasBegun)
    const seconds = 12
    const sent = await wire.during(() => sleep(seconds * 1_000))
    expect(sent.length).toBeLessThanOrEqual(seconds)
    expect(sent.length, 'the control: it is counted').toBeGreaterThan(3)
    await cluster.close()
  })
})
