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
import { type Node, node } from './node.ts'
import { allArrived, publisher, watch } from './traffic.ts'

describe.skipIf(!serversAvailable())('signals over restarts of the server', () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())

  const count = figure({ slice: 2_000, full: 10_000 })
  const nodeCount = figure({ slice: 5, full: 10 })

  it.for(['stream', 'queue'] as const)(
    `are not lost in mode %s: ${count} of 100 publishers on ${nodeCount} nodes, the server killed after a third and after a half`,
    { timeout: 180_000 },
    async (mode, { annotate }) => {
      const clusterName = `restarts-${mode}`
      await using stack = new AsyncDisposableStack()
      const open = async (): Promise<Node> => stack.use(await node(server.url, { clusterName, mode }))
      const senders = await Promise.all(Array.from({ length: nodeCount }, open))
      const receivers = await Promise.all([open(), open(), open()])
      const checker = new SetChecker()
      const watched = await Promise.all(receivers.map((each) => watch(checker, each)))
      const buffered = (): number => senders.reduce((sum, { pubsub }) => sum + pubsub.stats().buffered, 0)
      const bufferedAt: number[] = []
      const restartAt = async (published: number): Promise<void> => {
        const isSent = (): boolean => senders.every(({ pubsub }) => pubsub.stats().outbox < 100)
        await waitUntil(`${published}`, () => checker.published >= published && isSent(), {
          deadlineMs: 60_000,
        })
        await server.kill()
        await waitUntil('the loss to be noticed', () => buffered() > (bufferedAt.at(-1) ?? 0))
        await server.restart()
        bufferedAt.push(buffered())
      }
      const publishers = senders.flatMap((each) =>
        Array.from({ length: 100 / nodeCount }, () => publisher(checker, each)),
      )
      await Promise.all([
        // Both restarts take place while it goes on.
        publishAt(count / 30, count, publishers),
        restartAt(count / 3).then(() => restartAt(count / 2)),
      ])
      const findings = await allArrived(checker, senders)
      await annotate(
        `${JSON.stringify(findings)} ${JSON.stringify(watched.map(({ gaps }) => gaps))}, buffered ${buffered()}`,
      )
      for (const finding of findings) expect(finding).toEqual({ seen: count, gaps: 0, ...faultless })
      expect(bufferedAt, 'the control: it was away twice').toHaveLength(2)
    },
  )
})
