import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import {
  faultless,
  figure,
  publishAt,
  serversAvailable,
  SetChecker,
  startRedis,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { node } from './node.ts'
import { allArrived, publisher, watch } from './traffic.ts'

const clusterName = 'shop'
const perEpisode = 3_000
/** Far less than the log keeps: who reads on has them before they are trimmed, however busy the machine is. */
const atOnce = 250
const log = '{shop:pubsub:0}:log'

describe.skipIf(!serversAvailable())('a log that is trimmed before a slow reader has read it', () => {
  const episodes = figure({ slice: 2, full: 20 })

  it(
    `is one gap with the exact number, ${episodes} times, where XREAD goes on without a word`,
    { timeout: 120_000 },
    async () => {
      await using server = await startRedis()
      const settings = { clusterName, logLength: 1_000 }
      await using sender = await node(server.url, settings)
      await using slow = await node(server.url, settings)
      await using fast = await node(server.url, settings)
      await waitUntil('all to know each other', () =>
        [sender, slow, fast].every(({ pubsub }) => pubsub.nodes().length === 3),
      )
      const checker = new SetChecker()
      let release = (): void => {}
      let released = Promise.resolve()
      const { witness, gaps } = await watch(checker, slow)
      await slow.pubsub.subscribe('orders.*', () => released, {
        onGap: 'ignore',
        overflow: 'block',
        maxQueue: 1,
      })
      const quick = await watch(checker, fast)
      const publish = publisher(checker, sender)
      using stack = new DisposableStack()
      const bare = stack.adopt(new Redis(server.url), (client) => client.disconnect())
      let heard = 0
      for (let episode = 1; episode <= episodes; episode += 1) {
        released = new Promise((resolve) => (release = resolve))
        // The second one finds no room: only then has it read what comes before those that are trimmed, and reads no more.
        const before = witness.seen
        await Promise.all([publish(), publish()])
        await waitUntil('it to be held up', () => witness.seen === before + 2)
        const [head] = await bare.xrevrange(log, '+', '-', 'COUNT', 1)
        for (let published = 0; published < perEpisode; published += atOnce) {
          await Promise.all(Array.from({ length: atOnce }, publish))
          await waitUntil('the other one', () => quick.witness.seen === checker.published, { everyMs: 5 })
        }
        const found = await bare.xread('COUNT', perEpisode, 'STREAMS', log, head?.[0] ?? '0-0')
        heard += found?.[0]?.[1].length ?? 0
        expect(gaps, 'it has not read on').toHaveLength(episode - 1)
        release()
        await waitUntil('the gap', () => gaps.length === episode)
        await publish()
        await checker.arrived()
      }
      const [ofSlow, ofFast] = await allArrived(checker, [sender])
      expect(ofSlow).toMatchObject({ gaps: episodes, ...faultless })
      expect(ofFast).toEqual({ seen: checker.published, gaps: 0, ...faultless })
      expect(new Set(gaps.map(({ reason }) => reason))).toEqual(new Set(['trimmed']))
      const missed = gaps.reduce((sum, gap) => sum + (gap.missed ?? 0), 0)
      expect(missed).toBe(checker.published - witness.seen)
      expect(heard, 'the control').toBeLessThan(perEpisode * episodes)
    },
  )
})

describe.skipIf(!serversAvailable())('a handler of 100 ms', () => {
  const count = figure({ slice: 3_000, full: 20_000 })

  it(`of ${count} signals is told of what it misses, costs no more than 64 MiB, and delays no other`, async ({
    annotate,
  }) => {
    await using server = await startRedis()
    await using sender = await node(server.url, { clusterName })
    await using receiver = await node(server.url, { clusterName })
    const checker = new SetChecker()
    await watch(checker, receiver)
    const gone = new AbortController()
    let mostWaiting = 0
    let overflows = 0
    await receiver.pubsub.subscribe(
      'orders.*',
      async () => {
        mostWaiting = Math.max(mostWaiting, receiver.pubsub.stats().waiting)
        await sleep(100)
      },
      { onGap: ({ reason }) => void (overflows += reason === 'overflow' ? 1 : 0), signal: gone.signal },
    )
    const before = heapUsed()
    await publishAt(2_000, count, [publisher(checker, sender)])
    const findings = await allArrived(checker, [sender])
    const growth = heapUsed() - before
    gone.abort()
    await annotate(`heap ${Math.round(growth / 1_048_576)} MiB, waiting ${mostWaiting}, gaps ${overflows}`)
    expect(findings).toEqual([{ seen: count, gaps: 0, ...faultless }])
    expect(overflows, 'the control: it was too slow').toBeGreaterThan(0)
    expect(growth).toBeLessThan(64 * 1_048_576)
    expect(mostWaiting).toBeLessThanOrEqual(2_000)
  })
})

/** After all that can go is gone. */
function heapUsed(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}
