import { setTimeout as sleep } from 'node:timers/promises'
import {
  figure,
  type RabbitmqServer,
  serversAvailable,
  startRabbitmq,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { JobsRun } from './jobs-run.ts'
import { node } from './node.ts'
import { untilEmpty } from './settled-queue.ts'

/** No test here is about patience. */
const callTimeoutMs = 60_000

describe.skipIf(!serversAvailable())('taking jobs', { timeout: 120_000 }, () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())
  const idleTotal = figure({ slice: 500, full: 10_000 })

  it(`a node that is not idle begins none of ${idleTotal} jobs, which two others run, and takes jobs again when it is idle`, async () => {
    const clusterName = 'not-idle'
    await using stack = new AsyncDisposableStack()
    const open = async () => stack.use(await node(server.url, { clusterName, callTimeoutMs }))
    const nodes = [await open(), await open(), await open()]
    const jobs = new JobsRun()
    const begun = [0, 0, 0]
    let isIdle = false
    for (const [index, { queues }] of nodes.entries()) {
      await queues.open<number>('jobs').process(
        async ({ payload }) => {
          begun[index] = (begun[index] ?? 0) + 1
          await sleep(2)
          jobs.ran(payload)
        },
        { concurrency: 5, prefetch: 20, idle: () => index !== 0 || isIdle },
      )
    }
    const queue = nodes[1]?.queues.open<number>('jobs')
    if (queue === undefined) throw new Error('three nodes')
    for (let lot = 0; lot < idleTotal; lot += 100)
      await Promise.all(Array.from({ length: 100 }, () => jobs.add(queue)))
    await jobs.allRan()
    expect(jobs).toMatchObject({ lost: 0, again: 0 })
    expect(begun[0]).toBe(0)
    isIdle = true
    await waitUntil('it to begin one', async () => {
      await jobs.add(queue)
      return Number(begun[0]) > 0
    })
    await jobs.allRan()
    for (const each of nodes)
      expect(each.queues.stats()).toMatchObject({ failed: 0, lockLost: 0, settleIgnored: 0 })
  })

  it('a node keeps nothing back: what it had fetched as it stopped to be idle is begun elsewhere within a second, as its first attempt and with no crash', async ({
    annotate,
  }) => {
    const clusterName = 'fetched'
    await using here = await node(server.url, { clusterName, callTimeoutMs })
    await using there = await node(server.url, { clusterName, callTimeoutMs })
    let isIdle = true
    let release = (): void => {}
    const seen: { readonly attempt: number; readonly redelivered: boolean }[] = []
    const prefetch = 50
    // One runs, and the others are held.
    const busy = here.queues.open<number>('jobs')
    await busy.process(() => new Promise<void>((resolve) => (release = resolve)), {
      prefetch,
      idle: () => isIdle,
      maxCrashes: 0,
    })
    const queue = there.queues.open<number>('jobs')
    let longestMs = 0
    const rounds = 10
    for (let round = 0; round < rounds; round += 1) {
      seen.length = 0
      const before = here.queues.stats().running
      await queue.addMany(Array.from({ length: prefetch }, (_, payload) => ({ payload })))
      await waitUntil('one to run', () => here.queues.stats().running > before)
      await waitUntil('all to be fetched', async () => (await queue.counts()).waiting === 0)
      isIdle = false
      const stoppedAtMs = performance.now()
      const worker = await queue.process(
        ({ attempt, redelivered }) => void seen.push({ attempt, redelivered }),
        {
          concurrency: 5,
          maxCrashes: 0,
        },
      )
      await waitUntil('all others to run', () => seen.length === prefetch - 1, { everyMs: 5 })
      longestMs = Math.max(longestMs, performance.now() - stoppedAtMs)
      release()
      await untilEmpty(server, 'fetched.queue.jobs')
      await worker.close()
      expect(seen.filter(({ attempt, redelivered }) => attempt !== 1 || redelivered)).toEqual([])
      isIdle = true
    }
    await annotate(`all had run after ${Math.round(longestMs)} ms at most`)
    // A node is asked every quarter of a second whether it is idle.
    expect(longestMs).toBeLessThan(1_000 + 250 + 500 + stolenMs())
    expect(await queue.deadLetters.list()).toEqual([])
  })

  const total = figure({ slice: 2_000, full: 20_000 })

  it.for(['one by one', 'many on their way', 'together'] as const)(
    `jobs of one publisher that are added %s are begun in order by a worker that runs one at a time: ${total}`,
    async (how) => {
      const clusterName = how.replaceAll(' ', '-')
      await using adding = await node(server.url, { clusterName, callTimeoutMs })
      await using working = await node(server.url, { clusterName, callTimeoutMs })
      const queue = adding.queues.open<number>('jobs')
      const order: number[] = []
      await working.queues.open<number>('jobs').process(({ payload }) => void order.push(payload))
      await queue.add(-1)
      const numbers = Array.from({ length: total }, (_, each) => each)
      if (how === 'one by one') for (const each of numbers) await queue.add(each)
      else if (how === 'many on their way') {
        for (let first = 0; first < total; first += 5_000)
          await Promise.all(numbers.slice(first, first + 5_000).map((each) => queue.add(each)))
      } else await queue.addMany(numbers.map((payload) => ({ payload })))
      await waitUntil('all to run', () => order.length > total, { deadlineMs: 60_000 })
      expect(order).toEqual([-1, ...numbers])
    },
  )

  it('the control: they end in another order when several run at once', async () => {
    await using one = await node(server.url, { clusterName: 'several', callTimeoutMs })
    const queue = one.queues.open<number>('jobs')
    const order: number[] = []
    const numbers = Array.from({ length: 100 }, (_, each) => each)
    for (const each of numbers) await queue.add(each)
    // Behind the last add: where adds take long, one would have ended before the next one comes.
    await queue.process(
      async ({ payload }) => {
        await sleep(payload % 2 === 0 ? 20 : 0)
        order.push(payload)
      },
      { concurrency: 10 },
    )
    await waitUntil('all to run', () => order.length === 100)
    expect(order).not.toEqual(numbers)
    expect(order.toSorted((here, there) => here - there)).toEqual(numbers)
  })
})
