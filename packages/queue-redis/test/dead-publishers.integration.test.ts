import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  figure,
  serversAvailable,
  spawnNode,
  startRedis,
  temporaryFolder,
  waitUntil,
} from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { JobLedger } from './job-ledger.ts'
import { node } from './node.ts'

const kills = figure({ slice: 4, full: 20 })
/** How many jobs each publisher has added, at least, when it is killed. */
const jobsEach = figure({ slice: 300, full: 1_000 })

interface Outcome {
  readonly ledger: JobLedger
  /** That a publisher was about to add. */
  readonly attempted: ReadonlySet<string>
}

describe.skipIf(!serversAvailable()).concurrent('a publisher that is killed', { timeout: 300_000 }, () => {
  it(`${kills} times has each job run that it had added, and what was on its way at most once`, async ({
    annotate,
  }) => {
    const { ledger, attempted } = await killThrough('waiting', kills)
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

  it('the control: loses jobs that it took for added before the queue had them', async () => {
    const { ledger } = await killThrough('buffering', 2)
    expect(ledger.lost.length).toBeGreaterThan(0)
  })
})

async function killThrough(how: 'waiting' | 'buffering', times: number): Promise<Outcome> {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await startRedis({ aof: true }))
  const folder = temporaryFolder('journal')
  stack.defer(folder.remove)
  const one = stack.use(await node(server.url))
  const queue = one.queues.open<string>('jobs')
  const ledger = new JobLedger()
  await queue.process(({ payload }) => ledger.ran(payload), { concurrency: 20 })
  const journals = Array.from({ length: times }, (_, index) => join(folder.path, `journal-${index}`))
  for (const [index, journal] of journals.entries()) {
    const child = await spawnNode(new URL('./fixtures/journaling-publisher.ts', import.meta.url), {
      env: { REDIS_URL: server.url, JOURNAL: journal, HOW: how, NAME: `${index}` },
    })
    stack.use(child)
    const isEnough = (): boolean => read(journal, 'after').length >= jobsEach
    await waitUntil('jobs to be added', isEnough, { deadlineMs: 30_000 })
    await child.kill()
    for (const job of read(journal, 'after')) ledger.acknowledge(job)
  }
  expect(await queue.drain()).toBe(true)
  return { ledger, attempted: new Set(journals.flatMap((journal) => read(journal, 'before'))) }
}

function read(journal: string, what: 'before' | 'after'): string[] {
  const lines = readFileSync(journal, 'utf8').split('\n')
  return lines.filter((line) => line.startsWith(what)).map((line) => line.slice(what.length + 1))
}
