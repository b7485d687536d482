import { setTimeout as sleep } from 'node:timers/promises'
import { pluginContext } from '@multinode/core/testing'
import {
  CountingClock,
  faultless,
  figure,
  publishAt,
  serversAvailable,
  SetChecker,
  startRedis,
  tcpProxy,
  waitUntil,
  withOwnLateness,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { type Node, node } from './node.ts'
import { allArrived, BarePubSub, publisher, watch } from './traffic.ts'

const clusterName = 'shop'

describe.skipIf(!serversAvailable()).concurrent('signals over connections that break', () => {
  const rounds = figure({ slice: 1, full: 10 })

  it(
    'all arrive, once and in order, 6,000 of 3 nodes on 3 others while all connections are reset 10 times in 3 s',
    { timeout: rounds * 60_000 },
    async ({ annotate }) => {
      await using server = await startRedis()
      for (let round = 0; round < rounds; round += 1) {
        await using proxy = await tcpProxy(server.port)
        await using stack = new AsyncDisposableStack()
        const url = `redis://127.0.0.1:${proxy.port}`
        const checker = new SetChecker()
        const open = async (): Promise<ReturnType<typeof node>> => stack.use(await node(url, { clusterName }))
        const [senders, receivers] = [
          await Promise.all([open(), open(), open()]),
          await Promise.all([open(), open(), open()]),
        ]
        const watched = await Promise.all(receivers.map((each) => watch(checker, each)))
        using bare = await BarePubSub.start(new SetChecker(), server.url, url)
        const publishers = senders.map((each) => publisher(checker, each))
        await Promise.all([
          publishAt(1_500, 6_000, publishers),
          publishAt(1_500, 6_000, [bare.publish]),
          (async () => {
            for (let reset = 0; reset < 10; reset += 1) {
              await sleep(300)
              proxy.reset()
            }
          })(),
        ])
        const findings = await allArrived(checker, senders)
        await annotate(
          `buffered ${sum(senders, 'buffered')}, suppressed ${sum(receivers, 'duplicates')}, ` +
            `bare lost ${bare.lost} of ${bare.checker.published}`,
        )
        for (const finding of findings) expect(finding).toEqual({ seen: 6_000, gaps: 0, ...faultless })
        expect(watched.flatMap(({ gaps }) => gaps)).toEqual([])
        expect(bare.lost, 'the control: plain PUBLISH and SUBSCRIBE').toBeGreaterThan(0)
      }
    },
  )

  it('arrive although the connection breaks before the first one ever: 40 of 40', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    const url = `redis://127.0.0.1:${proxy.port}`
    await using sender = await node(server.url, { clusterName })
    await using receiver = await node(url, { clusterName })
    const checker = new SetChecker()
    await watch(checker, receiver)
    using bare = await BarePubSub.start(new SetChecker(), server.url, url)
    const publish = publisher(checker, sender)
    proxy.refuse()
    proxy.reset()
    await Promise.all(Array.from({ length: 40 }, () => Promise.all([publish(), bare.publish()])))
    expect(checker.count('sent')).toBe(40)
    proxy.heal()
    expect(await allArrived(checker, [sender])).toEqual([{ seen: 40, gaps: 0, ...faultless }])
    expect(bare.lost, 'the control: plain PUBLISH and SUBSCRIBE').toBe(40)
  })

  it('a node knows within a second that it hears nothing, and when it hears again', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    await using sender = await node(server.url, { clusterName })
    await using receiver = await node(`redis://127.0.0.1:${proxy.port}`, { clusterName })
    await hearing(receiver)
    const told: boolean[] = []
    receiver.pubsub.onHearing((isHearing) => told.push(isHearing))
    const checker = new SetChecker()
    await watch(checker, receiver)
    proxy.refuse()
    proxy.reset()
    const cutAtMs = performance.now()
    const { sumMs: lateMs } = await withOwnLateness(() => waitUntil('it to know', () => told.length > 0))
    expect(performance.now() - cutAtMs).toBeLessThan(1_000 + lateMs)
    await publisher(checker, sender)()
    expect(receiver.pubsub.isIsolated, 'the control: what tells it after 10 s').toBe(false)
    proxy.heal()
    expect(await allArrived(checker, [sender])).toEqual([{ seen: 1, gaps: 0, ...faultless }])
    expect(told).toEqual([false, true])
  })

  it('a node that reads several logs hears nothing when it lost the connection of one', async () => {
    await using server = await startRedis()
    await using one = await node(server.url, { clusterName, shards: 3 })
    await hearing(one)
    const told: boolean[] = []
    one.pubsub.onHearing((isHearing) => told.push(isHearing))
    expect(await killOneReader(server.url)).toBe(1)
    await waitUntil('it to hear again', () => told.length > 1)
    expect(told).toEqual([false, true])
  })

  const reconnects = figure({ slice: 6, full: 100 })

  it(
    `leave nothing behind: ${reconnects} reconnects, no connection and no timer`,
    { timeout: 120_000 },
    async () => {
      await using server = await startRedis()
      await using proxy = await tcpProxy(server.port)
      await using sender = await node(server.url, { clusterName })
      const clock = new CountingClock(pluginContext().clock)
      const one = await node(`redis://127.0.0.1:${proxy.port}`, { clusterName, clock })
      const checker = new SetChecker()
      await watch(checker, one)
      const publish = publisher(checker, sender)
      for (let round = 0; round <= reconnects; round += 1) {
        if (round > 0) proxy.reset()
        await publish()
        await waitUntil('both connections', () => proxy.connections() === 2)
        await checker.arrived()
      }
      expect(await allArrived(checker, [sender])).toEqual([{ seen: reconnects + 1, gaps: 0, ...faultless }])
      expect(proxy.connections()).toBe(2)
      await one[Symbol.asyncDispose]()
      await waitUntil('no connection', () => proxy.connections() === 0)
      // The longest deadline is that of a read, 8 s.
      await waitUntil('no timer', () => clock.pending === 0)
    },
  )
})

async function hearing({ pubsub }: Node): Promise<void> {
  await waitUntil('it to hear', () => pubsub.isHearing)
}

/** @returns how many were killed */
async function killOneReader(url: string): Promise<unknown> {
  const client = new Redis(url)
  try {
    const id = await waitUntil('a reader', async () => {
      const lines = String(await client.client('LIST')).split('\n')
      return /\bid=(\d+)/.exec(lines.find((line) => line.includes('cmd=xread')) ?? '')?.[1]
    })
    return await client.client('KILL', 'ID', Number(id))
  } finally {
    client.disconnect()
  }
}

function sum(nodes: readonly Node[], what: 'buffered' | 'duplicates'): number {
  return nodes.reduce((total, { pubsub }) => total + pubsub.stats()[what], 0)
}
