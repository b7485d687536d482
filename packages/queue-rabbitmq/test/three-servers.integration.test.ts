import { setTimeout as sleep } from 'node:timers/promises'
import { queueConformance } from '@multinode/conformance'
import {
  figure,
  seededRandom,
  serversAvailable,
  startRabbitmq,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { rabbitmqQueue } from '../src/index.ts'
import { JobsRun } from './jobs-run.ts'
import { node } from './node.ts'
import { rawChannel } from './raw-channel.ts'

/** A quorum queue that has just been declared may stay without a leader after a crash: a defect of RabbitMQ. */
const settleMs = 5_000
const callTimeoutMs = 30_000
/** As the README advises. Without it this takes up to six minutes. */
const soonerSteps = '[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 5000}]}].'
const isFull = figure({ slice: 0, full: 1 }) === 1

// All that needs three servers, because they take half a minute to start.
describe.skipIf(!serversAvailable())('on three servers', async () => {
  const cluster = await startRabbitmq({ nodes: 3, ...(isFull ? {} : { advancedConfig: soonerSteps }) })
  afterAll(() => cluster.stop())
  const { urls, nodes } = cluster

  if (isFull) queueConformance('rabbitmq cluster', { plugin: () => rabbitmqQueue({ urls }) })

  const kills = figure({ slice: 3, full: 12 })
  const outageMs = 10_000

  it(
    `no job is lost, and none that is delayed or to be tried again, and jobs flow again within ${outageMs / 1_000} s, over ${kills} deaths of a server, the leader of the queue first`,
    { timeout: 120_000 + kills * 60_000 },
    async ({ annotate }) => {
      const clusterName = 'deaths'
      const random = seededRandom()
      await using stack = new AsyncDisposableStack()
      const open = async () => stack.use(await node(urls, { clusterName, callTimeoutMs }))
      const [adding, one, two] = [await open(), await open(), await open()]
      const jobs = new JobsRun()
      let lastAtMs = performance.now()
      let longestMs = 0
      for (const { queues } of [one, two]) {
        const queue = queues.open<number>('jobs', {
          attempts: 3,
          backoff: { type: 'fixed', delayMs: 200, jitter: 0 },
        })
        await queue.process(
          async ({ payload, attempt }) => {
            const nowMs = performance.now()
            longestMs = Math.max(longestMs, nowMs - lastAtMs)
            lastAtMs = nowMs
            await sleep(10)
            if (payload % 10 === 0 && attempt === 1) throw new Error('again')
            jobs.ran(payload)
          },
          { concurrency: 10 },
        )
      }
      const queue = adding.queues.open<number>('jobs', {
        attempts: 3,
        backoff: { type: 'fixed', delayMs: 200, jitter: 0 },
      })
      await jobs.add(queue, { delayMs: 2_000 })
      await sleep(settleMs)
      let isOver = false
      const add = async (): Promise<void> => {
        while (!isOver) {
          await jobs.add(queue, jobs.begun % 7 === 0 ? { delayMs: random.between(100, 3_000) } : {})
          await sleep(20)
        }
      }
      const lanes = Array.from({ length: 8 }, add)
      const stalls: number[] = []
      await sleep(1_000)
      for (let kill = 0; kill < kills; kill += 1) {
        longestMs = 0
        const victim =
          kill === 0
            ? await cluster.leaderOf(`${clusterName}.queue.jobs`)
            : nodes[random.between(0, nodes.length - 1)]
        await victim?.kill()
        const goal = jobs.order.length + 200
        await waitUntil('jobs to flow', () => jobs.order.length > goal, { deadlineMs: 60_000 })
        stalls.push(Math.round(longestMs))
        await victim?.restart()
        await cluster.ready()
      }
      isOver = true
      await Promise.all(lanes)
      // What a step of a delay was lost with its leader comes after the confirm timeout of the server, or the one after.
      await jobs.allRan(isFull ? 400_000 : 60_000)
      await annotate(`seed ${random.seed}: ${String(jobs)}, stalls ${stalls.join(', ')} ms`)
      expect(jobs.lies).toBe(0)
      expect(jobs.lost).toBe(0)
      expect(Math.max(...stalls)).toBeLessThan(outageMs + stolenMs())
      expect(await queue.deadLetters.list()).toEqual([])
    },
  )

  it(
    'the control: a queue that is no quorum queue is away with its server',
    { timeout: 180_000 },
    async () => {
      const [first, second] = nodes
      if (first === undefined || second === undefined) throw new Error('three were started')
      {
        await using raw = await rawChannel(first.url)
        await raw.channel.assertQueue('classic', { durable: true })
      }
      await first.kill()
      await using raw = await rawChannel(second.url)
      const failure: unknown = await raw.channel.checkQueue('classic').catch((error: unknown) => error)
      expect(String(failure)).toContain('NOT_FOUND')
      await first.restart()
      await cluster.ready()
    },
  )
})
