import {
  figure,
  type NodeChild,
  type RedisServer,
  serversAvailable,
  spawnNode,
  startRedis,
  stolenMs,
  waitUntil,
  withLateness,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { JobLedger } from './job-ledger.ts'
import { node } from './node.ts'

const kills = figure({ slice: 6, full: 50 })
const jobs = figure({ slice: 2_000, full: 20_000 })
const workers = 3
const concurrency = 20
const handlerMs = 200
const leaseMs = 1_000
/** How many jobs there are always, so that each kill finds some that run. */
const backlog = 200

/** Where jobs come from. */
interface Source {
  add(jobs: readonly string[]): Promise<void>
  waiting(): Promise<number>
  drained(): Promise<unknown>
}

interface Outcome {
  readonly ledger: JobLedger
  /** How many jobs were begun by more than one worker. */
  readonly takenOver: number
  /** How long after the kill of one worker another one began its job. */
  readonly takeoverMs: readonly number[]
}

describe
  .skipIf(!serversAvailable())
  .concurrent('workers that are killed again and again', { timeout: 300_000 }, () => {
    it(`lose no job of ${jobs}, run few twice, and others take over within a lease, a sweep and a second: ${kills} kills`, async ({
      annotate,
    }) => {
      await using server = await startRedis({ aof: true })
      await using one = await node(server.url, { callTimeoutMs: 30_000 })
      const queue = one.queues.open<string>('jobs')
      const watching = new Redis(server.url)
      const { result, mostMs } = await withLateness(
        async () => watching.ping(),
        () =>
          killThrough(server, 'queue', {
            add: async (added) => {
              const results = await queue.addMany(added.map((payload) => ({ payload })))
              const failed = results.find(({ status }) => status !== 'added')
              expect(failed).toBeUndefined()
            },
            waiting: async () => (await queue.counts()).waiting ?? NaN,
            drained: () => queue.drain({ timeoutMs: 120_000 }),
          }),
      )
      watching.disconnect()
      const { ledger, takenOver, takeoverMs } = result
      const sorted = takeoverMs.toSorted((a, b) => a - b)
      await annotate(
        `${ledger.lost.length} of ${ledger.acknowledged} lost, ${ledger.duplicates} run twice, ${takenOver} taken over within ${sorted[sorted.length >> 1]} ms (median), ${sorted.at(-1)} ms (longest), the machine late by ${Math.round(mostMs)} ms`,
      )
      expect(ledger.acknowledged).toBeGreaterThanOrEqual(jobs)
      expect(ledger.lost).toEqual([])
      expect(ledger.unacknowledged).toEqual([])
      expect(ledger.duplicates).toBeLessThanOrEqual(kills * concurrency)
      expect(takenOver, 'the control: jobs ran when their workers were killed').toBeGreaterThanOrEqual(kills)
      // The machine may be late with the sweep, and again with the taking.
      expect(sorted.at(-1)).toBeLessThan(leaseMs * 1.25 + 1_000 + 2 * mostMs + stolenMs())
      expect(await queue.counts()).toMatchObject({ waiting: 0, active: 0, delayed: 0, dead: 0 })
    })

    it('the control: that take jobs off a list lose those that ran', async () => {
      await using server = await startRedis({ aof: true })
      const list = new Redis(server.url)
      const { ledger } = await killThrough(server, 'list', {
        add: async (added) => void (await list.lpush('list', ...added)),
        waiting: () => list.llen('list'),
        drained: () => waitUntil('none to wait', async () => (await list.llen('list')) === 0),
      })
      list.disconnect()
      expect(ledger.lost.length).toBeGreaterThanOrEqual(kills)
    })
  })

async function killThrough(server: RedisServer, how: 'queue' | 'list', source: Source): Promise<Outcome> {
  await using stack = new AsyncDisposableStack()
  const records = stack.adopt(new Redis(server.url), async (client) => client.disconnect())
  const ledger = new JobLedger()
  const killedAtMs = new Map<string, number>()
  const done = (): Promise<number> => records.hlen('done')
  let isFeeding = true
  const feed = async (): Promise<void> => {
    for (let next = 0; isFeeding || next < jobs;) {
      const added = Array.from({ length: backlog }, (_, index) => `${next + index}`)
      await source.add(added)
      for (const job of added) ledger.acknowledge(job)
      next += backlog
      await waitUntil('some to be taken', async () => (await source.waiting()) < backlog, {
        deadlineMs: 60_000,
        everyMs: 10,
      })
    }
  }
  const start = async (name: string): Promise<NodeChild> => {
    const child = await spawnNode(new URL('./fixtures/recording-worker.ts', import.meta.url), {
      env: {
        REDIS_URL: server.url,
        HOW: how,
        NAME: name,
        LEASE_MS: `${leaseMs}`,
        CONCURRENCY: `${concurrency}`,
        HANDLER_MS: `${handlerMs}`,
      },
    })
    stack.use(child)
    await child.nextLine('ready', 30_000)
    return child
  }
  const starting: Promise<NodeChild>[] = []
  // One more than are killed.
  const startNext = (): void => {
    if (starting.length > kills) return
    const started = start(`${starting.length}`)
    // Whoever waits for it is told.
    started.catch(() => {})
    starting.push(started)
  }
  const kill = async (): Promise<void> => {
    for (let index = 0; index < workers; index += 1) startNext()
    for (let index = 0; index < kills; index += 1) {
      // There is always one that takes over.
      const [victim] = await Promise.all([starting[index], starting[index + 1]])
      const goal = (await done()) + jobs / (kills + 1)
      await waitUntil('more to be done', async () => (await done()) >= goal, { deadlineMs: 60_000 })
      killedAtMs.set(`${index}`, Date.now())
      await victim?.kill()
      startNext()
    }
    isFeeding = false
  }
  await Promise.all([kill(), feed()])
  await source.drained()
  const last = await starting.at(-1)
  last?.send('stop')
  await last?.nextLine('stopped', 30_000)
  for (const [job, times] of Object.entries(await records.hgetall('done'))) ledger.ran(job, Number(times))
  return { ledger, ...takeovers(await records.lrange('begun', 0, -1), killedAtMs) }
}

/** @param begun `<job> <worker> <when>`, in the order of their beginning */
function takeovers(
  begun: readonly string[],
  killedAtMs: ReadonlyMap<string, number>,
): Omit<Outcome, 'ledger'> {
  const last = new Map<string, string>()
  const takeoverMs: number[] = []
  for (const line of begun) {
    const [job = '', worker = '', atMs] = line.split(' ')
    const killedMs = killedAtMs.get(last.get(job) ?? '')
    if (killedMs !== undefined) takeoverMs.push(Number(atMs) - killedMs)
    last.set(job, worker)
  }
  return { takenOver: begun.length - last.size, takeoverMs }
}
