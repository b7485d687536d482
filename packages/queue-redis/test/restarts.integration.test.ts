import { setTimeout as sleep } from 'node:timers/promises'
import type { Queue, QueueCounts } from '@multinode/core'
import {
  figure,
  type RedisServer,
  seededRandom,
  serversAvailable,
  startRedis,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { JobLedger } from './job-ledger.ts'
import { type Node, node } from './node.ts'

const concurrency = 20
const workers = 2
const producers = 2
const lanesEach = 16
/** Slow enough that jobs wait when the server is killed. */
const handlerMs = 40
const callTimeoutMs = 20_000
const leaseMs = 2_000
const flowMs = 5_000

describe.skipIf(!serversAvailable()).concurrent('over SIGKILLs of Redis', { timeout: 400_000 }, () => {
  const jobs = figure({ slice: 5_000, full: 100_000 })
  const kills = figure({ slice: 3, full: 10 })

  it(`with AOF no job is lost of at least ${jobs} from ${producers} producers to ${workers} workers, few run twice, and jobs flow again within 5 s: ${kills} kills`, async ({
    annotate,
  }) => {
    await using server = await startRedis({ aof: true })
    const { ledger, added, waitingAtKills, awayMs, backAfterMs, counts } = await workThrough(server, {
      jobs,
      kills,
    })
    await annotate(
      `${ledger.lost.length} lost of ${added}, ${ledger.duplicates} run twice, ${waitingAtKills.join()} waited at the kills, away for ${awayMs.join()} ms, back after ${backAfterMs.join()} ms`,
    )
    expect(ledger.acknowledged).toBe(added)
    expect(ledger.lost).toEqual([])
    expect(ledger.unacknowledged).toEqual([])
    expect(ledger.duplicates).toBeLessThanOrEqual(kills * workers * concurrency)
    expect(Math.max(...backAfterMs)).toBeLessThan(flowMs + stolenMs())
    expect(counts).toMatchObject({ waiting: 0, active: 0, delayed: 0, dead: 0 })
    expect(Math.min(...waitingAtKills), 'the control: jobs waited').toBeGreaterThan(0)
  })

  it('the control: without AOF those are lost that waited', async () => {
    await using server = await startRedis()
    const { ledger, waitingAtKills } = await workThrough(server, { jobs: 1_000, kills: 1 })
    expect(waitingAtKills[0]).toBeGreaterThan(0)
    expect(ledger.lost.length).toBeGreaterThan(0)
  })

  const delayedJobs = figure({ slice: 300, full: 3_000 })
  const longestDelayMs = figure({ slice: 4_000, full: 30_000 })
  const delayedKills = 3

  it(`with AOF no delayed job of ${delayedJobs} is lost or early, and none later than is declared: ${delayedKills} kills`, async ({
    annotate,
  }) => {
    await using server = await startRedis({ aof: true })
    const outcome = await delayThrough(server, delayedKills)
    const late = outcome.lateMs.toSorted((a, b) => a - b)
    await annotate(
      `late by ${late[late.length >> 1]} ms (median), ${late.at(-1)} ms (most), ${outcome.ledger.duplicates} run twice`,
    )
    expect(outcome.ledger.acknowledged).toBe(delayedJobs)
    expect(outcome.ledger.lost).toEqual([])
    expect(late[0], `none early (seed ${outcome.seed})`).toBeGreaterThanOrEqual(0)
    expect(late.at(-1)).toBeLessThan(outcome.declaredMs + stolenMs())
    expect(outcome.ledger.duplicates).toBeLessThanOrEqual(delayedKills * concurrency)
    expect(Math.min(...outcome.delayedAtKills), 'the control: some were delayed').toBeGreaterThan(0)
  })

  it('the control: without AOF those are lost that were delayed', async () => {
    await using server = await startRedis()
    const { ledger } = await delayThrough(server, 1)
    expect(ledger.lost.length).toBeGreaterThan(0)
  })

  async function delayThrough(
    server: RedisServer,
    wantedKills: number,
  ): Promise<{
    readonly ledger: JobLedger
    readonly lateMs: readonly number[]
    readonly delayedAtKills: readonly number[]
    readonly declaredMs: number
    readonly seed: number
  }> {
    const random = seededRandom()
    await using one = await node(server.url, { callTimeoutMs })
    const queue = one.queues.open<{ readonly name: string; readonly delayMs: number }>('delayed')
    const ledger = new JobLedger()
    const lateMs: number[] = []
    await queue.process(
      ({ payload: { name, delayMs }, addedAtMs }) => {
        lateMs.push(Date.now() - addedAtMs - delayMs)
        ledger.ran(name)
      },
      { concurrency, leaseMs },
    )
    const wave = delayedJobs / wantedKills
    const delayedAtKills: number[] = []
    for (let kill = 0; kill < wantedKills; kill += 1) {
      const items = Array.from({ length: wave }, (_, index) => {
        const delayMs = random.between(1_000, longestDelayMs)
        return { payload: { name: `${kill}-${index}`, delayMs }, options: { delayMs } }
      })
      for (const [index, { status }] of (await queue.addMany(items)).entries()) {
        if (status === 'added') ledger.acknowledge(`${kill}-${index}`)
      }
      const delayed = async (): Promise<number> => (await queue.counts()).delayed ?? NaN
      delayedAtKills.push(await delayed())
      await server.kill()
      await server.restart()
      await waitUntil('half of them to be due', async () => (await delayed()) <= wave / 2, {
        deadlineMs: 2 * longestDelayMs + 10_000,
      })
    }
    await untilEmpty(queue)
    return {
      ledger,
      lateMs,
      delayedAtKills,
      declaredMs: one.driver.features.lateAfterCrashMs,
      seed: random.seed,
    }
  }
})

interface Outcome {
  readonly ledger: JobLedger
  readonly added: number
  /** How many jobs the server had when it was killed, each time. */
  readonly waitingAtKills: readonly number[]
  /** For longer than a lease with many jobs to load: then those that ran run again. */
  readonly awayMs: readonly number[]
  /** How long after it answered again until a job was acknowledged and another one begun. */
  readonly backAfterMs: readonly number[]
  readonly counts: QueueCounts
}

/** Nodes that add and nodes that work, while the server is killed and comes back again and again. */
async function workThrough(
  server: RedisServer,
  { jobs, kills }: { readonly jobs: number; readonly kills: number },
): Promise<Outcome> {
  await using stack = new AsyncDisposableStack()
  const open = async (): Promise<Node> => stack.use(await node(server.url, { callTimeoutMs }))
  const ledger = new JobLedger()
  const working = await Promise.all(Array.from({ length: workers }, open))
  for (const { queues } of working) {
    const work = async ({ payload }: { readonly payload: string }): Promise<void> => {
      ledger.begin()
      await sleep(handlerMs)
      ledger.ran(payload)
    }
    await queues.open<string>('jobs').process(work, { concurrency, leaseMs })
  }
  let next = 0
  // Else they might all be added before the last kill: the one that looks may be connected again later than those that add.
  let isKilling = true
  const addInTurn = async (queue: Queue<string>): Promise<void> => {
    while (isKilling || next < jobs) {
      const job = `${next++}`
      await queue.add(job)
      ledger.acknowledge(job)
    }
  }
  const adding = await Promise.all(Array.from({ length: producers }, open))
  const queues = adding.map((each) => each.queues.open<string>('jobs'))
  const lanes = queues.flatMap((queue) => Array.from({ length: lanesEach }, () => addInTurn(queue)))
  const waitingAtKills: number[] = []
  const awayMs: number[] = []
  const backAfterMs: number[] = []
  const [observer] = working
  if (observer === undefined) throw new Error('nobody works')
  const observed = observer.queues.open<string>('jobs')
  const killInTurn = async (): Promise<void> => {
    for (let kill = 1; kill <= kills; kill += 1) {
      const goal = (kill * jobs) / (kills + 1)
      await waitUntil(`${goal} to be added`, () => ledger.acknowledged >= goal, { deadlineMs: 90_000 })
      waitingAtKills.push((await counted(observed)).waiting ?? NaN)
      const killedAtMs = performance.now()
      await server.kill()
      await server.restart()
      const answeredAtMs = performance.now()
      awayMs.push(Math.round(answeredAtMs - killedAtMs))
      await waitUntil('jobs to flow again', () => ledger.hasFlowedSince(answeredAtMs), {
        deadlineMs: 30_000,
        everyMs: 5,
      })
      backAfterMs.push(Math.round(performance.now() - answeredAtMs))
    }
  }
  const killing = killInTurn().finally(() => {
    isKilling = false
  })
  await Promise.all([...lanes, killing])
  await untilEmpty(observed)
  return { ledger, added: next, waitingAtKills, awayMs, backAfterMs, counts: await observed.counts() }
}

/** Its own connection may come back later than those of others. */
async function counted(queue: Pick<Queue, 'counts'>): Promise<QueueCounts> {
  return waitUntil('its counts', () => queue.counts())
}

/** Then what did not run will not. */
async function untilEmpty(queue: Pick<Queue, 'counts'>): Promise<void> {
  await waitUntil(
    'nothing to be left',
    async () => {
      const { waiting, active, delayed } = await queue.counts()
      return waiting === 0 && active === 0 && delayed === 0
    },
    { deadlineMs: 200_000, everyMs: 50 },
  )
}
