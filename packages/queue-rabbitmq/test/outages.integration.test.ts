import { setTimeout as sleep } from 'node:timers/promises'
import {
  figure,
  publishAt,
  type RabbitmqServer,
  serversAvailable,
  startRabbitmq,
  stolenMs,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RabbitmqQueue } from '../src/index.ts'
import { JobsRun } from './jobs-run.ts'
import { newJob } from './new-job.ts'
import { node } from './node.ts'
import { rawChannel } from './raw-channel.ts'
import { jobsIn, untilEmpty } from './settled-queue.ts'

const callTimeoutMs = 1_000
const definition = { name: 'jobs', hasPriorities: false }
/** Of one queue. */
const mostUnconfirmed = 10_000

interface Outage {
  readonly name: string
  readonly begin: (server: RabbitmqServer, proxy: TcpProxy) => unknown
  readonly end: (server: RabbitmqServer, proxy: TcpProxy) => unknown
}

const outages: readonly Outage[] = [
  {
    name: 'down',
    begin: (_, proxy) => {
      proxy.refuse()
      proxy.reset()
    },
    end: (_, proxy) => proxy.refuse(false),
  },
  { name: 'frozen', begin: (server) => server.pause(), end: (server) => server.resume() },
  { name: 'half-open', begin: (_, proxy) => proxy.blackhole(), end: (_, proxy) => proxy.blackhole(false) },
  {
    name: 'short of memory',
    begin: (server) => server.memoryAlarm(true),
    end: (server) => server.memoryAlarm(false),
  },
]

describe.skipIf(!serversAvailable())('while RabbitMQ is away', { timeout: 180_000 }, () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())
  const outageMs = figure({ slice: 3_500, full: 30_000 })

  it.for(outages)(
    '($name) each add settles in its time and a tenth, and says truly whether its job will run',
    async ({ name, begin, end }, { annotate }) => {
      const clusterName = name.replaceAll(' ', '-')
      await using proxy = await tcpProxy(server.port)
      const url = `amqp://guest:guest@127.0.0.1:${proxy.port}`
      await using adding = await node(url, { clusterName, callTimeoutMs })
      await using working = await node(server.url, { clusterName })
      const jobs = new JobsRun()
      const queue = adding.queues.open<number>('jobs')
      const took: number[] = []
      const add = async (): Promise<void> => void took.push(await jobs.add(queue))
      await working.queues
        .open<number>('jobs')
        .process(({ payload }) => jobs.ran(payload), { concurrency: 10 })
      await add()
      const perSecond = 40
      await Promise.all([
        publishAt(perSecond, (perSecond * (outageMs + 1_000)) / 1_000, [add]),
        (async () => {
          await sleep(500)
          await begin(server, proxy)
          await sleep(outageMs)
          await end(server, proxy)
        })(),
      ])
      await jobs.allRan()
      await waitUntil('the connection', async () => (await queue.add(-1)).status)
      await untilEmpty(server, `${clusterName}.queue.jobs`)
      await annotate(`${String(jobs)}; at most ${Math.round(Math.max(...took))} ms`)
      expect(jobs).toMatchObject({ lost: 0, lies: 0, isSettled: true })
      expect(Math.max(...took)).toBeLessThan(callTimeoutMs * 1.1 + 250 + stolenMs())
      const failed = jobs.count('not-sent') + jobs.count('unknown')
      expect(failed, 'the control: it was away').toBeGreaterThan((outageMs / 1_000 - 2) * perSecond)
      await expect(queue.add(-2)).resolves.toMatchObject({ status: 'added' })
    },
  )

  it('the control: what is sent by amqplib is not settled in three times that', async () => {
    await using raw = await rawChannel(server.url)
    await raw.channel.assertQueue('raw', { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    await server.pause()
    raw.channel.sendToQueue('raw', Buffer.from('job'))
    const confirmed = raw.channel.waitForConfirms().then(() => true)
    const isSettled = await Promise.race([confirmed, sleep(3 * callTimeoutMs, false)])
    server.resume()
    expect(isSettled).toBe(false)
    expect(await confirmed).toBe(true)
  })

  it('(frozen) a delayed job whose way is still to be made was not sent', async () => {
    await using one = await node(server.url, { clusterName: 'unmade' })
    const line = await one.driver.open(definition, 10_000)
    await expect(line.add([newJob(100)], 10_000)).resolves.toMatchObject([{ status: 'added' }])
    await server.pause()
    const replies = await line.add([newJob(1e6)], callTimeoutMs)
    server.resume()
    expect(replies).toMatchObject([{ status: 'failed', error: { code: 'TIMEOUT', outcome: 'not-sent' } }])
  })

  it('(short of memory) jobs are kept in bounds: exactly the surplus is refused, and was not sent', async () => {
    await using one = await node(server.url, { clusterName: 'bounds' })
    const line = await one.driver.open(definition, 10_000)
    await server.memoryAlarm(true)
    const surplus = 100
    const adding = Array.from({ length: mostUnconfirmed + surplus }, () => line.add([newJob()], 60_000))
    const refused = await Promise.all(adding.slice(mostUnconfirmed))
    expect(refused).toHaveLength(surplus)
    for (const [reply] of refused)
      expect(reply).toMatchObject({ status: 'failed', error: { code: 'EXHAUSTED', outcome: 'not-sent' } })
    await waitUntil('the server to block', () => {
      return one.driver instanceof RabbitmqQueue && one.driver.native.state.status === 'blocked'
    })
    const there = await jobsIn(server, 'bounds.queue.jobs')
    expect(there, 'the control: it takes no messages').toBeLessThan(mostUnconfirmed)
    await server.memoryAlarm(false)
    const kept = (await Promise.all(adding.slice(0, mostUnconfirmed))).flat()
    expect(kept.filter(({ status }) => status === 'added')).toHaveLength(mostUnconfirmed)
    expect(await jobsIn(server, 'bounds.queue.jobs')).toBe(mostUnconfirmed)
  })

  it('(short of memory) a worker is paused at once, although what became of its jobs cannot be sent', async () => {
    await using one = await node(server.url, { clusterName: 'paused', callTimeoutMs: 30_000 })
    const line = await one.driver.open(definition, 10_000)
    const begun: string[] = []
    let isHeld = true
    let isDecided = false
    const consumer = await line.consume(
      { concurrency: 1, prefetch: 1, leaseMs: 30_000, maxCrashes: 3 },
      {
        async run({ record }) {
          begun.push(record.id)
          while (isHeld) await sleep(10)
          isDecided = true
          return { type: 'retry', delayMs: 0, isAttempt: true }
        },
        lost: () => {},
        settleIgnored: () => {},
        stalled: () => {},
      },
      10_000,
    )
    const job = newJob()
    await line.add([job], 10_000)
    await waitUntil('it to run', () => begun.length === 1)
    await server.memoryAlarm(true)
    isHeld = false
    await waitUntil('it to be decided', () => isDecided)
    const isPaused = await Promise.race([consumer.pause().then(() => true), sleep(10_000, false)])
    const { waiting } = await line.counts(10_000)
    await server.memoryAlarm(false)
    expect(waiting, 'the control: no copy was sent').toBe(0)
    expect(isPaused).toBe(true)
    await waitUntil('the copy', async () => (await line.counts(10_000)).waiting === 1)
    isHeld = true
    await consumer.resume()
    await waitUntil('it to run again', () => begun.length === 2)
    isHeld = false
    await consumer.close()
    expect(begun).toEqual([job.record.id, job.record.id])
  })

  const alarmMs = figure({ slice: 3_000, full: 60_000 })

  it(`what is added, is to be tried again or is dead while it is short of memory is kept, and all of it goes on afterwards: ${alarmMs / 1_000} s`, async ({
    annotate,
  }) => {
    await using one = await node(server.url, { clusterName: 'alarm', callTimeoutMs: alarmMs + 60_000 })
    const queue = one.queues.open<string>('jobs', {
      attempts: 2,
      backoff: { type: 'fixed', delayMs: 10, jitter: 0 },
    })
    const completed: string[] = []
    let isHeld = true
    let running = 0
    await queue.process(
      async ({ payload, attempt }) => {
        running += 1
        while (isHeld) await sleep(10)
        if (payload === 'dead' || (payload === 'again' && attempt === 1)) throw new Error(payload)
        completed.push(payload)
      },
      { concurrency: 3 },
    )
    for (const payload of ['done', 'again', 'dead']) await queue.add(payload)
    await waitUntil('all to run', () => running === 3)
    await server.memoryAlarm(true)
    isHeld = false
    const adding = Array.from({ length: 11_000 }, async (_, each) => queue.add(`${each}`))
    const results = Promise.allSettled(adding)
    await sleep(alarmMs)
    expect(completed, 'acks go through').toEqual(['done'])
    await server.memoryAlarm(false)
    const refused = (await results).filter(({ status }) => status === 'rejected').length
    await waitUntil('all to run', () => completed.length === 11_000 - refused + 2, { deadlineMs: 60_000 })
    await waitUntil('the dead one', async () => (await queue.counts()).dead === 1)
    await annotate(`${refused} refused`)
    expect(new Set(completed).size).toBe(completed.length)
    expect(refused).toBe(0)
    expect(one.queues.stats()).toMatchObject({ lockLost: 0, settleIgnored: 0, dead: 1 })
  })
})
