import { setTimeout as sleep } from 'node:timers/promises'
import { type Queue, UnrecoverableJobError } from '@multinode/core'
import {
  figure,
  type RabbitmqServer,
  serversAvailable,
  spawnNode,
  startRabbitmq,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { JobLedger } from './job-ledger.ts'
import { node } from './node.ts'
import { rawChannel } from './raw-channel.ts'
import { jobsIn, untilEmpty, untilRead } from './settled-queue.ts'

const jobs = figure({ slice: 2_000, full: 10_000 })
/** All are added in one call. */
const callTimeoutMs = 90_000
/** So many may be on their way at once, and as many whose removal is. */
const redrivesAtOnce = 256
/** Of a link over which a redrive takes seconds beyond the moment in which it is half done: a look that comes late must not find it through. */
const slowMs = 250
/** A quorum queue that has just been declared may stay without a leader after a crash: a defect of RabbitMQ. */
const settleMs = 5_000

interface Interruption {
  readonly clusterName: string
  /** Resolves as soon as some are redriven, and not all. */
  readonly untilHalfDone: () => Promise<void>
}

describe.skipIf(!serversAvailable())('a redrive', { timeout: 300_000 }, () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())

  it(`of ${jobs} that is cut short by a SIGKILL of RabbitMQ loses none, and goes on when it is called again`, async ({
    annotate,
  }) => {
    await redriveThrough('killed-server', annotate, async ({ clusterName, untilHalfDone }) => {
      await sleep(settleMs)
      await using proxy = await tcpProxy(server.port)
      proxy.delay(slowMs)
      const url = `amqp://guest:guest@127.0.0.1:${proxy.port}`
      await using slow = await node(url, { clusterName, callTimeoutMs })
      const redriving = failureOf(slow.queues.open<string>('jobs').deadLetters.redrive())
      await untilHalfDone()
      await server.kill()
      expect(await redriving).toMatchObject({ retryable: true })
      await server.restart()
      for (const kind of ['queue', 'dead']) await untilRead(server, `${clusterName}.${kind}.jobs`)
    })
  })

  it(`of ${jobs} whose process is killed loses none, and goes on when another one calls it again`, async ({
    annotate,
  }) => {
    await redriveThrough('killed-process', annotate, async ({ clusterName, untilHalfDone }) => {
      await using proxy = await tcpProxy(server.port)
      proxy.delay(slowMs)
      const env = { RABBITMQ_URL: `amqp://guest:guest@127.0.0.1:${proxy.port}`, CLUSTER: clusterName }
      await using child = await spawnNode(new URL('./fixtures/redriver.ts', import.meta.url), { env })
      await untilHalfDone()
      await child.kill()
      expect(child.output()).not.toContain('redriven')
    })
  })

  it('the control: of naive code that takes them out and adds them again loses some', async () => {
    await using raw = await rawChannel(server.url)
    const options = { durable: true, arguments: { 'x-queue-type': 'quorum' } }
    for (const queue of ['raw', 'raw-dead']) await raw.channel.assertQueue(queue, options)
    for (let each = 0; each < jobs; each += 1) raw.channel.sendToQueue('raw-dead', Buffer.from(`${each}`))
    await raw.channel.waitForConfirms()
    await sleep(settleMs)
    await using proxy = await tcpProxy(server.port)
    proxy.delay(slowMs)
    await using naive = await rawChannel(`amqp://guest:guest@127.0.0.1:${proxy.port}`)
    const plain = await naive.model.createChannel()
    plain.on('error', () => {})
    const moveInTurn = async (): Promise<void> => {
      for (;;) {
        const message = await plain.get('raw-dead', { noAck: true })
        if (message === false) return
        plain.sendToQueue('raw', message.content)
      }
    }
    // All but for a moment each of them has one that is in neither queue, whenever the server is killed.
    const moving = Promise.allSettled(Array.from({ length: 50 }, moveInTurn))
    await waitUntil('some to be back', async () => (await jobsIn(server, 'raw')) > 0, { everyMs: 0 })
    await server.kill()
    await moving
    await server.restart()
    // Some are in both: they are told apart by what they are, not counted.
    const kept = new Set<string>()
    await using after = await rawChannel(server.url)
    for (const queue of ['raw', 'raw-dead']) {
      await after.channel.consume(queue, (message) => void kept.add(String(message?.content)), {
        noAck: true,
      })
      await untilEmpty(server, queue)
    }
    expect(kept.size).toBeGreaterThan(0)
    expect(kept.size).toBeLessThan(jobs)
  })

  async function redriveThrough(
    clusterName: string,
    annotate: (message: string) => Promise<unknown>,
    interrupt: (interruption: Interruption) => Promise<void>,
  ): Promise<void> {
    await using one = await node(server.url, { clusterName, callTimeoutMs })
    const queue = one.queues.open<string>('jobs')
    const [work, dead] = [`${clusterName}.queue.jobs`, `${clusterName}.dead.jobs`]
    const ledger = await bury(queue, () => untilEmpty(server, work, 120_000))
    await interrupt({
      clusterName,
      untilHalfDone: async () => {
        // More than are sent before the first one is confirmed: what is not, a killed server may forget.
        const isHalfDone = async (): Promise<boolean> => (await jobsIn(server, work)) > redrivesAtOnce
        await waitUntil('some to wait', isHalfDone, { deadlineMs: 30_000, everyMs: 0 })
      },
    })
    const counts = await waitUntil('its counts', async () => {
      const [waiting, left] = await Promise.all([jobsIn(server, work), jobsIn(server, dead)])
      return waiting + left >= jobs ? { waiting, left } : undefined
    })
    const { waiting, left } = counts
    expect(waiting, 'the control: it was cut short').toBeGreaterThan(0)
    expect(left, 'the control: it was cut short').toBeGreaterThan(0)
    // What was on its way is both, and none is missing.
    expect(waiting + left).toBeLessThanOrEqual(jobs + 2 * redrivesAtOnce)
    let again = 0
    await waitUntil(
      'all to wait',
      async () => {
        again += await queue.deadLetters.redrive()
        return (await jobsIn(server, dead)) === 0
      },
      { deadlineMs: 60_000 },
    )
    // A queue that has just been started may still count some that were removed.
    expect(again).toBeLessThanOrEqual(left)
    expect(again).toBeGreaterThan(0)
    await queue.process(({ payload }) => ledger.ran(payload), { concurrency: 50 })
    await untilEmpty(server, work)
    await annotate(
      `${waiting} waited and ${left} were dead then, ${ledger.lost.length} lost, ${ledger.duplicates} run twice`,
    )
    expect(ledger.acknowledged).toBe(jobs)
    expect(ledger.lost).toEqual([])
    expect(ledger.duplicates).toBeLessThanOrEqual(2 * redrivesAtOnce)
    expect(await queue.deadLetters.list()).toEqual([])
  }
})

/** All of them are dead letters then. */
async function bury(queue: Queue<string>, allTaken: () => Promise<void>): Promise<JobLedger> {
  const ledger = new JobLedger()
  const items = Array.from({ length: jobs }, (_, index) => ({ payload: `${index}` }))
  const results = await queue.addMany(items)
  for (const [index, { status }] of results.entries()) if (status === 'added') ledger.acknowledge(`${index}`)
  const worker = await queue.process(
    () => {
      throw new UnrecoverableJobError('no')
    },
    { concurrency: 50 },
  )
  await allTaken()
  expect((await queue.counts()).dead).toBe(jobs)
  await worker.close()
  return ledger
}

/** Handled at once, and looked at later. */
function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}
