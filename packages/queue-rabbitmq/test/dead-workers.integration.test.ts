import { join } from 'node:path'
import {
  figure,
  type NodeChild,
  type RabbitmqServer,
  serversAvailable,
  spawnNode,
  startRabbitmq,
  stolenMs,
  temporaryFolder,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { JobLedger } from './job-ledger.ts'
import { journalOf } from './journal.ts'
import { node } from './node.ts'
import { rawChannel } from './raw-channel.ts'
import { untilEmpty } from './settled-queue.ts'

const kills = figure({ slice: 6, full: 50 })
const jobs = figure({ slice: 2_000, full: 20_000 })
const workers = 3
const concurrency = 20
const handlerMs = 200
const payloads = Array.from({ length: jobs }, (_, index) => `${index}`)

interface Outcome {
  readonly ledger: JobLedger
  /** How many jobs were begun by more than one worker. */
  readonly takenOver: number
  /** How long after the kill of one worker another one began its job. */
  readonly takeoverMs: readonly number[]
}

describe.skipIf(!serversAvailable())('workers that are killed again and again', { timeout: 300_000 }, () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())

  it(`lose no job of ${jobs}, run few twice, and others take over within 2 s: ${kills} kills`, async ({
    annotate,
  }) => {
    await using one = await node(server.url, { clusterName: 'workers', callTimeoutMs: 60_000 })
    const queue = one.queues.open<string>('jobs')
    const results = await queue.addMany(payloads.map((payload) => ({ payload })))
    expect(results.find(({ status }) => status !== 'added')).toBeUndefined()
    const { ledger, takenOver, takeoverMs } = await killThrough('queue', 'workers.queue.jobs')
    const sorted = takeoverMs.toSorted((a, b) => a - b)
    await annotate(
      `${ledger.lost.length} lost, ${ledger.duplicates} run twice, ${takenOver} taken over within ${sorted[sorted.length >> 1]} ms (median), ${sorted.at(-1)} ms (longest)`,
    )
    expect(ledger.lost).toEqual([])
    expect(ledger.unacknowledged).toEqual([])
    expect(ledger.duplicates).toBeLessThanOrEqual(kills * concurrency)
    expect(takenOver, 'the control: jobs ran when their workers were killed').toBeGreaterThanOrEqual(kills)
    // They wait for those that the others have begun already.
    expect(sorted.at(-1)).toBeLessThan(2_000 + 2 * handlerMs + stolenMs())
    expect(await queue.deadLetters.list()).toEqual([])
  })

  it('the control: that acknowledge jobs before they do them lose those that ran', async () => {
    await using raw = await rawChannel(server.url)
    await raw.channel.assertQueue('raw', { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    for (const payload of payloads) raw.channel.sendToQueue('raw', Buffer.from(payload))
    await raw.channel.waitForConfirms()
    const { ledger } = await killThrough('early', 'raw')
    expect(ledger.lost.length).toBeGreaterThanOrEqual(kills)
  })

  async function killThrough(how: 'queue' | 'early', queue: string): Promise<Outcome> {
    await using stack = new AsyncDisposableStack()
    const folder = temporaryFolder('journal')
    stack.defer(folder.remove)
    const journals: string[] = []
    const written = (what: string): string[] => journals.flatMap((journal) => journalOf(journal, what))
    const start = async (name: string): Promise<NodeChild> => {
      const journal = join(folder.path, name)
      journals.push(journal)
      const child = await spawnNode(new URL('./fixtures/recording-worker.ts', import.meta.url), {
        env: {
          RABBITMQ_URL: server.url,
          JOURNAL: journal,
          HOW: how,
          NAME: name,
          CONCURRENCY: `${concurrency}`,
          HANDLER_MS: `${handlerMs}`,
        },
      })
      stack.use(child)
      await child.nextLine('ready', 30_000)
      return child
    }
    const killedAtMs = new Map<string, number>()
    const running: { readonly name: string; readonly child: NodeChild }[] = []
    for (let index = 0; index < workers + kills; index += 1) {
      // The first ones begin together; then one is killed before the next one begins, and there is always one that takes over.
      if (index >= workers) {
        // The control loses so many that it would not reach a later one.
        const goal = (0.8 * (index - workers + 1) * jobs) / (kills + 2)
        await waitUntil('more to be done', () => written('done').length >= goal, { deadlineMs: 60_000 })
        const victim = running.shift()
        if (victim !== undefined) killedAtMs.set(victim.name, Date.now())
        await victim?.child.kill()
      }
      running.push({ name: `${index}`, child: await start(`${index}`) })
    }
    await untilEmpty(server, queue, 120_000)
    const ledger = new JobLedger()
    await waitUntil('the last to be done', () => {
      const begun = written('begun').filter((line) => !killedAtMs.has(line.split(' ')[1] ?? ''))
      return begun.length <= written('done').length
    })
    for (const payload of payloads) ledger.acknowledge(payload)
    for (const job of written('done')) ledger.ran(job)
    return { ledger, ...takeovers(written('begun'), killedAtMs) }
  }
})

/** @param begun `<job> <worker> <when>` */
function takeovers(
  begun: readonly string[],
  killedAtMs: ReadonlyMap<string, number>,
): Omit<Outcome, 'ledger'> {
  const last = new Map<string, string>()
  const takeoverMs: number[] = []
  const atMs = (line: string): number => Number(line.split(' ')[2])
  for (const line of begun.toSorted((a, b) => atMs(a) - atMs(b))) {
    const [job = '', worker = ''] = line.split(' ')
    const killedMs = killedAtMs.get(last.get(job) ?? '')
    if (killedMs !== undefined) takeoverMs.push(atMs(line) - killedMs)
    last.set(job, worker)
  }
  return { takenOver: begun.length - last.size, takeoverMs }
}
