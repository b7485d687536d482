import {
  faultless,
  figure,
  publishAt,
  serversAvailable,
  SetChecker,
  startRedis,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { type Node, node } from './node.ts'
import { allArrived, BarePubSub, publisher, watch } from './traffic.ts'

const clusterName = 'shop'

describe.skipIf(!serversAvailable())('signals over restarts of a server that stores all', () => {
  const count = figure({ slice: 2_000, full: 10_000 })
  const nodeCount = figure({ slice: 5, full: 10 })

  it(
    `are not lost: ${count} of 100 publishers on ${nodeCount} nodes, the server killed after a third and after a half`,
    { timeout: 120_000 },
    async ({ annotate }) => {
      await using server = await startRedis({ aof: true })
      await using proxy = await tcpProxy(server.port)
      await using stack = new AsyncDisposableStack()
      const faulty = `redis://127.0.0.1:${proxy.port}`
      const open = async (url: string): Promise<Node> => stack.use(await node(url, { clusterName }))
      const senders = await Promise.all(Array.from({ length: nodeCount }, () => open(server.url)))
      const receivers = await Promise.all([open(faulty), open(faulty), open(server.url)])
      const checker = new SetChecker()
      for (const each of receivers) await watch(checker, each)
      using bare = await BarePubSub.start(new SetChecker(), server.url, faulty)
      let restarts = 0
      const restartAt = async (published: number): Promise<void> => {
        await waitUntil(`${published}`, () => checker.published >= published, { deadlineMs: 60_000 })
        proxy.refuse()
        await server.kill()
        await server.restart()
        restarts += 1
        // Who subscribes is connected again a little later than who publishes.
        await bare.publish()
        proxy.heal()
      }
      const publishers = senders.flatMap((each) =>
        Array.from({ length: 100 / nodeCount }, () => publisher(checker, each)),
      )
      await Promise.all([
        publishAt(count / 4, count, publishers),
        restartAt(count / 3).then(() => restartAt(count / 2)),
      ])
      expect(restarts).toBe(2)
      const findings = await allArrived(checker, senders)
      await annotate(JSON.stringify(findings))
      for (const finding of findings) expect(finding).toEqual({ seen: count, gaps: 0, ...faultless })
      expect(bare.lost, 'the control: plain PUBLISH and SUBSCRIBE').toBe(2)
    },
  )
})
