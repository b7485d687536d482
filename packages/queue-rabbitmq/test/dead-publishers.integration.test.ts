import { join } from 'node:path'
import {
  figure,
  type RabbitmqServer,
  serversAvailable,
  spawnNode,
  startRabbitmq,
  tcpProxy,
  temporaryFolder,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { JobLedger } from './job-ledger.ts'
import { journalOf } from './journal.ts'
import { node } from './node.ts'
import { rawChannel } from './raw-channel.ts'
import { untilEmpty } from './settled-queue.ts'

const kills = figure({ slice: 4, full: 20 })
/** How many jobs each publisher has added, at least, when it is killed. */
const jobsEach = figure({ slice: 300, full: 1_000 })

describe.skipIf(!serversAvailable())('a publisher that is killed', { timeout: 300_000 }, () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())

  it(`${kills} times has each job run that it had added, and what was on its way at most once`, async ({
    annotate,
  }) => {
    await using one = await node(server.url, { clusterName: 'publishers' })
    const queue = one.queues.open<string>('jobs')
    const ledger = new JobLedger()
    await queue.process(({ payload }) => ledger.ran(payload), { concurrency: 20 })
    const attempted = await killThrough('confirmed', kills, ledger)
    await untilEmpty(server, 'publishers.queue.jobs')
    const open = attempted.size - ledger.acknowledged
    await annotate(
      `${ledger.acknowledged} added, ${ledger.lost.length} lost, ${ledger.unacknowledged.length} of ${open} on their way ran, ${ledger.duplicates} run twice`,
    )
    expect(ledger.acknowledged).toBeGreaterThanOrEqual(kills * jobsEach)
    expect(ledger.lost).toEqual([])
    expect(ledger.unacknowledged.filter((job) => !attempted.has(job))).toEqual([])
    expect(ledger.duplicates).toBe(0)
    expect(open, 'the control: some were on their way').toBeGreaterThan(0)
  })

  it('the control: loses jobs that it took for added because it had sent them', async () => {
    await using raw = await rawChannel(server.url)
    await raw.channel.assertQueue('raw', { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    const ledger = new JobLedger()
    const seen = await raw.model.createChannel()
    await seen.consume('raw', (message) => ledger.ran(String(message?.content)), { noAck: true })
    await killThrough('hoping', 2, ledger)
    await untilEmpty(server, 'raw')
    expect(ledger.lost.length).toBeGreaterThan(0)
  })

  /** @returns which jobs publishers were about to add */
  async function killThrough(
    how: 'confirmed' | 'hoping',
    times: number,
    ledger: JobLedger,
  ): Promise<ReadonlySet<string>> {
    await using stack = new AsyncDisposableStack()
    const folder = temporaryFolder('journal')
    stack.defer(folder.remove)
    // What was written and has not left is lost with its process: a slow link has more of it.
    const proxy = stack.use(await tcpProxy(server.port))
    proxy.delay(50)
    const journals = Array.from({ length: times }, (_, index) => join(folder.path, `journal-${index}`))
    for (const [index, journal] of journals.entries()) {
      const url = `amqp://guest:guest@127.0.0.1:${proxy.port}`
      const child = await spawnNode(new URL('./fixtures/journaling-publisher.ts', import.meta.url), {
        env: { RABBITMQ_URL: url, JOURNAL: journal, HOW: how, NAME: `${index}` },
      })
      stack.use(child)
      const isEnough = (): boolean => journalOf(journal, 'after').length >= jobsEach
      await waitUntil('jobs to be added', isEnough, { deadlineMs: 60_000 })
      if (how === 'hoping') proxy.reset()
      await child.kill()
      for (const job of journalOf(journal, 'after')) ledger.acknowledge(job)
    }
    return new Set(journals.flatMap((journal) => journalOf(journal, 'before')))
  }
})
