import {
  faultless,
  figure,
  publishAt,
  type RabbitmqServer,
  serversAvailable,
  SetChecker,
  startRabbitmq,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { node, type NodeOptions } from './node.ts'
import { allArrived, allSent, watch } from './traffic.ts'

interface Limit {
  readonly what: string
  readonly settings: Omit<NodeOptions, 'clusterName'>
  readonly perEpisode: number
  readonly perSecond: number
  readonly bytes: number
}

const limits: readonly Limit[] = [
  {
    what: 'a queue of 100 signals',
    settings: { mode: 'queue', queueLength: 100 },
    perEpisode: 1_500,
    perSecond: 1_500,
    bytes: 10,
  },
  {
    // Of which 256 are on their way to the reader.
    what: 'a stream of 1 MB',
    settings: { mode: 'stream', logBytes: 1_000_000 },
    perEpisode: 600,
    perSecond: 300,
    bytes: 20_000,
  },
]

describe.skipIf(!serversAvailable())('trimmed before a slow reader has read it,', () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())

  const episodes = figure({ slice: 2, full: 20 })

  it.for(limits)(
    `$what is one gap, ${episodes} times`,
    { timeout: 30_000 + episodes * 30_000 },
    async ({ settings, perEpisode, perSecond, bytes }, { annotate }) => {
      const clusterName = `slow-${settings.mode}`
      await using sender = await node(server.url, { ...settings, clusterName })
      await using slow = await node(server.url, { ...settings, clusterName })
      await waitUntil('all to know each other', () =>
        [sender, slow].every(({ pubsub }) => pubsub.nodes().length === 2),
      )
      const checker = new SetChecker()
      let release = (): void => {}
      using stack = new DisposableStack()
      stack.defer(() => release())
      let released = Promise.resolve()
      const { witness, gaps } = await watch(checker, slow)
      await slow.pubsub.subscribe('orders.*', () => released, {
        onGap: 'ignore',
        overflow: 'block',
        maxQueue: 1,
      })
      const filler = 'x'.repeat(bytes)
      const publish = checker.publisher((mark) => sender.pubsub.publish('orders.changed', [...mark, filler]))
      await publish()
      await checker.arrived()
      for (let episode = 1; episode <= episodes; episode += 1) {
        released = new Promise((resolve) => (release = resolve))
        // The second one finds no room: only then has it read what comes before those that are trimmed, and reads no more.
        const before = witness.seen
        await Promise.all([publish(), publish()])
        await waitUntil('it to be held up', () => witness.seen === before + 2)
        await publishAt(perSecond, perEpisode, [publish])
        await allSent(checker, [sender])
        expect(gaps, 'it has not read on').toHaveLength(episode - 1)
        release()
        await waitUntil('the gap', () => gaps.length === episode)
        await publish()
        await checker.arrived()
      }
      const [finding] = await allArrived(checker, [sender])
      await annotate(`${JSON.stringify(gaps)}, published ${checker.published}, seen ${witness.seen}`)
      expect(finding).toMatchObject({ gaps: episodes, ...faultless })
      expect(new Set(gaps.map(({ reason }) => reason))).toEqual(new Set(['trimmed']))
      expect(witness.seen, 'the control: some were trimmed').toBeLessThan(checker.published)
    },
  )
})
