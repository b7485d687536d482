import { setTimeout as sleep } from 'node:timers/promises'
import {
  faultless,
  figure,
  publishAt,
  publishWhile,
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
  const perSecond = count / 30
  const nodeCount = figure({ slice: 5, full: 10 })

  it(
    `are not lost in either mode: ${count} and more of 100 publishers on ${nodeCount} nodes, the server killed twice meanwhile`,
    { timeout: 180_000 },
    async ({ annotate }) => {
      await using stack = new AsyncDisposableStack()
      const runs = [await start('stream', stack), await start('queue', stack)]
      await publishOn(runs, count / 5)
      for (let times = 0; times < 2; times += 1) {
        // It goes on until the server is back, and for as long as the rest takes.
        const both = Promise.all([restart(runs), sleep((30_000 * 2) / 5)])
        await Promise.all(
          runs.map((each) => publishWhile(perSecond, publishersOf(each), async () => void (await both))),
        )
      }
      for (const { mode, checker, senders, watched, bufferedAt } of runs) {
        const findings = await allArrived(checker, senders)
        const gaps = watched.map((each) => each.gaps)
        await annotate(
          `${mode}: ${JSON.stringify(findings)} ${JSON.stringify(gaps)}, buffered ${bufferedAt.at(-1)}`,
        )
        for (const finding of findings)
          expect(finding).toEqual({ seen: checker.published, gaps: 0, ...faultless })
        expect(bufferedAt, 'the control: it was away twice').toHaveLength(2)
      }
    },
  )

  async function start(mode: 'stream' | 'queue', stack: AsyncDisposableStack): Promise<Run> {
    const open = async (): Promise<Node> =>
      stack.use(await node(server.url, { clusterName: `restarts-${mode}`, mode }))
    const senders = await Promise.all(Array.from({ length: nodeCount }, open))
    const receivers = await Promise.all([open(), open(), open()])
    const checker = new SetChecker()
    const watched = await Promise.all(receivers.map((each) => watch(checker, each)))
    return { mode, checker, senders, watched, bufferedAt: [] }
  }

  async function publishOn(runs: readonly Run[], part: number): Promise<void> {
    await Promise.all(runs.map((each) => publishAt(perSecond, part, publishersOf(each))))
  }

  function publishersOf({ checker, senders }: Run): (() => Promise<void>)[] {
    return senders.flatMap((each) => Array.from({ length: 100 / nodeCount }, () => publisher(checker, each)))
  }

  async function restart(runs: readonly Run[]): Promise<void> {
    const from = runs.map(({ checker }) => checker.published)
    const isSent = ({ senders }: Run): boolean => senders.every(({ pubsub }) => pubsub.stats().outbox < 100)
    const goesOn = (run: Run, index: number): boolean =>
      run.checker.published > (from[index] ?? 0) + 50 && isSent(run)
    // First what an earlier restart left.
    await waitUntil('some more', () => runs.every(goesOn), { deadlineMs: 60_000 })
    await server.kill()
    await waitUntil('the loss to be noticed', () =>
      runs.every((run) => bufferedBy(run) > (run.bufferedAt.at(-1) ?? 0)),
    )
    await server.restart()
    for (const run of runs) run.bufferedAt.push(bufferedBy(run))
  }
})

interface Run {
  readonly mode: string
  readonly checker: SetChecker
  readonly senders: readonly Node[]
  readonly watched: Awaited<ReturnType<typeof watch>>[]
  readonly bufferedAt: number[]
}

function bufferedBy({ senders }: Run): number {
  return senders.reduce((sum, { pubsub }) => sum + pubsub.stats().buffered, 0)
}
