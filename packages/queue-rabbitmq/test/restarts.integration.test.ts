import { setTimeout as sleep } from 'node:timers/promises'
import type { Queue } from '@multinode/core'
import {
  figure,
  type RabbitmqServer,
  seededRandom,
  serversAvailable,
  startRabbitmq,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { JobLedger } from './job-ledger.ts'
import { type Node, node } from './node.ts'
import { rawChannel } from './raw-channel.ts'
import { untilEmpty } from './settled-queue.ts'

const concurrency = 20
const workers = 2
const producers = 2
const lanesEach = 16
/** Slow enough that jobs wait when the server is killed. */
const handlerMs = 40
/** Longer than RabbitMQ takes to boot on a machine under load. */
const callTimeoutMs = 90_000
const flowMs = 5_000
/** A quorum queue that has just been declared may stay without a leader after a crash: a defect of RabbitMQ. */
const settleMs = 5_000
const isFull = figure({ slice: 0, full: 1 }) === 1
/** As the README advises. Without it this takes up to six minutes. */
const soonerSteps = '[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 5000}]}].'

describe.skipIf(!serversAvailable())('over SIGKILLs of RabbitMQ', { timeout: 600_000 }, () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq(isFull ? {} : { advancedConfig: soonerSteps })
  })
  afterAll(() => server.stop())

  const jobs = figure({ slice: 4_000, full: 100_000 })
  const kills = figure({ slice: 3, full: 10 })

  it(`no job is lost of at least ${jobs} from ${producers} producers to ${workers} workers, few run twice, and jobs flow again within 5 s: ${kills} kills`, async ({
    annotate,
  }) => {
    const { ledger, added, waitingAtKills, awayMs, backAfterMs } = await workThrough(server)
    await annotate(
      `${ledger.lost.length} lost of ${added}, ${ledger.duplicates} run twice, ${waitingAtKills.join()} waited at the kills, away for ${awayMs.join()} ms, back after ${backAfterMs.join()} ms`,
    )
    expect(ledger.acknowledged).toBe(added)
    expect(ledger.lost).toEqual([])
    expect(ledger.unacknowledged).toEqual([])
    expect(ledger.duplicates).toBeLessThanOrEqual(kills * (workers * concurrency + producers * lanesEach))
    expect(Math.max(...backAfterMs)).toBeLessThan(flowMs + stolenMs())
    expect(Math.min(...waitingAtKills), 'the control: jobs waited').toBeGreaterThan(0)
  })

  it('the control: what is published without confirms is lost', async () => {
    const count = 2_000
    const queue = 'raw'
    {
      await using raw = await rawChannel(server.url)
      const plain = await raw.model.createChannel()
      plain.on('error', () => {})
      await plain.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
      await sleep(settleMs)
      for (let each = 0; each < count; each += 1) {
        plain.sendToQueue(queue, Buffer.from(`${each}`), { persistent: true })
      }
      await server.kill()
    }
    await server.restart()
    await using raw = await rawChannel(server.url)
    expect((await raw.channel.checkQueue(queue)).messageCount).toBeLessThan(count)
  })

  const delayedJobs = figure({ slice: 600, full: 3_000 })
  const longestDelayMs = figure({ slice: 6_000, full: 30_000 })
  const delayedKills = 3

  it(`no delayed job of ${delayedJobs} is lost or early, and none later than is declared: ${delayedKills} kills`, async ({
    annotate,
  }) => {
    const random = seededRandom()
    await using one = await node(server.url, { clusterName: 'delayed', callTimeoutMs })
    const queue = one.queues.open<{ readonly name: string; readonly delayMs: number }>('jobs')
    const ledger = new JobLedger()
    const lateMs: number[] = []
    await queue.process(
      ({ payload: { name, delayMs }, addedAtMs }) => {
        lateMs.push(Date.now() - addedAtMs - delayMs)
        ledger.ran(name)
      },
      { concurrency },
    )
    await queue.add({ name: 'first', delayMs: longestDelayMs }, { delayMs: longestDelayMs })
    ledger.acknowledge('first')
    await sleep(settleMs)
    const wave = delayedJobs / delayedKills
    const delayedAtKills: number[] = []
    let awayMs = 0
    for (let kill = 0; kill < delayedKills; kill += 1) {
      const items = Array.from({ length: wave }, (_, index) => {
        const delayMs = random.between(1_000, longestDelayMs)
        return { payload: { name: `${kill}-${index}`, delayMs }, options: { delayMs } }
      })
      for (const [index, { status }] of (await queue.addMany(items)).entries()) {
        if (status === 'added') ledger.acknowledge(`${kill}-${index}`)
      }
      delayedAtKills.push(ledger.lost.length)
      const killedAtMs = performance.now()
      await server.kill()
      await server.restart()
      awayMs += performance.now() - killedAtMs
      await waitUntil('half of them to be due', () => ledger.lost.length <= wave / 2, {
        deadlineMs: one.driver.features.lateAfterCrashMs + longestDelayMs,
      })
    }
    await waitUntil('all to run', () => ledger.lost.length === 0, {
      deadlineMs: one.driver.features.lateAfterCrashMs + longestDelayMs,
    })
    const late = lateMs.toSorted((a, b) => a - b)
    await annotate(
      `away for ${Math.round(awayMs)} ms, late by ${late[late.length >> 1]} ms (median), ${late.at(-1)} ms (most), ${ledger.duplicates} run twice (seed ${random.seed})`,
    )
    expect(ledger.acknowledged).toBe(delayedJobs + 1)
    expect(late[0], 'none early').toBeGreaterThanOrEqual(0)
    expect(late.at(-1)).toBeLessThan(awayMs + one.driver.features.lateAfterCrashMs + stolenMs())
    expect(Math.min(...delayedAtKills), 'the control: some were delayed').toBeGreaterThan(0)
  })

  interface Outcome {
    readonly ledger: JobLedger
    readonly added: number
    /** How many jobs had been added and not run when the server was killed, each time. */
    readonly waitingAtKills: readonly number[]
    readonly awayMs: readonly number[]
    /** How long after it answered again until a job was acknowledged and another one begun. */
    readonly backAfterMs: readonly number[]
  }

  /** Nodes that add and nodes that work, while the server is killed and comes back again and again. */
  async function workThrough(broken: RabbitmqServer): Promise<Outcome> {
    await using stack = new AsyncDisposableStack()
    const open = async (): Promise<Node> =>
      stack.use(await node(broken.url, { clusterName: 'restarts', callTimeoutMs }))
    const ledger = new JobLedger()
    const working = await Promise.all(Array.from({ length: workers }, open))
    for (const { queues } of working) {
      const work = async ({ payload }: { readonly payload: string }): Promise<void> => {
        ledger.begin()
        await sleep(handlerMs)
        ledger.ran(payload)
      }
      await queues.open<string>('jobs').process(work, { concurrency })
    }
    await sleep(settleMs)
    let next = 0
    // Else they might all be added before the last kill.
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
    const killInTurn = async (): Promise<void> => {
      for (let kill = 1; kill <= kills; kill += 1) {
        const goal = (kill * jobs) / (kills + 1)
        await waitUntil(`${goal} to be added`, () => ledger.acknowledged >= goal, { deadlineMs: 90_000 })
        waitingAtKills.push(ledger.lost.length)
        const killedAtMs = performance.now()
        await broken.kill()
        await broken.restart()
        const answeredAtMs = performance.now()
        awayMs.push(Math.round(answeredAtMs - killedAtMs))
        await waitUntil('jobs to flow again', () => ledger.hasFlowedSince(answeredAtMs), {
          deadlineMs: 60_000,
          everyMs: 5,
        })
        backAfterMs.push(Math.round(performance.now() - answeredAtMs))
      }
    }
    const killing = killInTurn().finally(() => {
      isKilling = false
    })
    await Promise.all([...lanes, killing])
    await untilEmpty(broken, 'restarts.queue.jobs', 120_000)
    return { ledger, added: next, waitingAtKills, awayMs, backAfterMs }
  }
})
