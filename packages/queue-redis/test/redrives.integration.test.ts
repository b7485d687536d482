import { slotPrefix } from '@multinode/connection-redis'
import { type Queue, UnrecoverableJobError } from '@multinode/core'
import {
  figure,
  type RedisServer,
  serversAvailable,
  spawnNode,
  startRedis,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Queue as BullQueue } from 'bullmq'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { JobLedger } from './job-ledger.ts'
import { clusterName, node } from './node.ts'

const jobs = figure({ slice: 2_000, full: 10_000 })
const prefix = slotPrefix(clusterName, 'queue', 'jobs')
const callTimeoutMs = 30_000

interface Interruption {
  readonly server: RedisServer
  readonly queue: Queue<string>
  /** Resolves as soon as some are redriven, and not all. */
  readonly untilHalfDone: () => Promise<void>
}

describe.skipIf(!serversAvailable())('a redrive', { timeout: 300_000 }, () => {
  it(`of ${jobs} that is cut short by a SIGKILL of Redis loses none, and goes on when it is called again`, async ({
    annotate,
  }) => {
    await redriveThrough(annotate, async ({ server, queue, untilHalfDone }) => {
      const redriving = failureOf(queue.deadLetters.redrive())
      await untilHalfDone()
      await server.kill()
      expect(await redriving).toMatchObject({ code: 'UNAVAILABLE' })
      await server.restart()
    })
  })

  it(`of ${jobs} whose process is killed loses none, and goes on when another one calls it again`, async ({
    annotate,
  }) => {
    await redriveThrough(annotate, async ({ server, untilHalfDone }) => {
      await using proxy = await tcpProxy(server.port)
      // Else it may be through before it is killed.
      proxy.delay(50)
      const env = { REDIS_URL: `redis://127.0.0.1:${proxy.port}/0` }
      await using child = await spawnNode(new URL('./fixtures/redriver.ts', import.meta.url), { env })
      await untilHalfDone()
      await child.kill()
      expect(child.output()).not.toContain('redriven')
    })
  })

  it('the control: of naive code that takes them out and adds them again loses some', async () => {
    await using server = await startRedis({ aof: true })
    await using one = await node(server.url, { callTimeoutMs })
    const queue = one.queues.open<string>('jobs')
    await bury(queue)
    await using raw = rawQueue(server)
    const redriving = redriveNaively(raw.queue, () => server.kill())
    expect(await failureOf(redriving)).toBeInstanceOf(Error)
    await server.restart()
    const { waiting, dead } = await waitUntil('its counts', () => queue.counts())
    expect(Number(waiting) + Number(dead)).toBeLessThan(jobs)
  })
})

async function redriveThrough(
  annotate: (message: string) => Promise<unknown>,
  interrupt: (interruption: Interruption) => Promise<void>,
): Promise<void> {
  await using server = await startRedis({ aof: true })
  await using one = await node(server.url, { callTimeoutMs })
  const queue = one.queues.open<string>('jobs')
  const ledger = await bury(queue)
  {
    await using raw = rawQueue(server)
    const isHalfDone = async (): Promise<boolean> => (await deadAndWaiting(raw.probe))[1] > 0
    await interrupt({
      server,
      queue,
      untilHalfDone: async () => {
        await waitUntil('some to wait', isHalfDone, { deadlineMs: 30_000, everyMs: 0 })
      },
    })
  }
  const { waiting, dead } = await waitUntil('its counts', () => queue.counts())
  expect(Number(waiting) + Number(dead)).toBe(jobs)
  expect(waiting, 'the control: it was cut short').toBeGreaterThan(0)
  expect(dead, 'the control: it was cut short').toBeGreaterThan(0)
  expect(await queue.deadLetters.redrive()).toBe(dead)
  await queue.process(({ payload }) => ledger.ran(payload), { concurrency: 50 })
  expect(await queue.drain({ timeoutMs: 60_000 })).toBe(true)
  await annotate(
    `${waiting} waited and ${dead} were dead then, ${ledger.lost.length} lost, ${ledger.duplicates} run twice`,
  )
  expect(ledger.acknowledged).toBe(jobs)
  expect(ledger.lost).toEqual([])
  expect(ledger.duplicates).toBe(0)
  expect(await queue.counts()).toMatchObject({ waiting: 0, active: 0, delayed: 0, dead: 0 })
}

/** All of them are dead letters then. */
async function bury(queue: Queue<string>): Promise<JobLedger> {
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
  await waitUntil('all to be dead', async () => (await queue.counts()).dead === jobs, { deadlineMs: 120_000 })
  await worker.close()
  return ledger
}

/** @param interrupt the fault, at the moment at which they are nowhere */
async function redriveNaively(queue: BullQueue, interrupt: () => Promise<unknown>): Promise<void> {
  const letters = await queue.getFailed(0, jobs)
  await Promise.all(letters.map((letter) => letter.remove()))
  await interrupt()
  await queue.addBulk(letters.map(({ name, data, opts }) => ({ name, data, opts })))
}

/** Handled at once, and looked at later. */
function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}

interface RawQueue extends AsyncDisposable {
  readonly queue: BullQueue
  readonly client: Redis
  readonly probe: Redis
}

function rawQueue(server: RedisServer): RawQueue {
  // It gives up at once: else what it sent goes on when the server is back.
  const client = new Redis(server.url, { maxRetriesPerRequest: null, retryStrategy: () => null })
  const probe = new Redis(server.url)
  for (const each of [client, probe]) each.on('error', () => {})
  const queue = new BullQueue('v1', { connection: client, prefix })
  queue.on('error', () => {})
  return {
    queue,
    client,
    probe,
    [Symbol.asyncDispose]: async () => {
      for (const each of [client, probe]) each.disconnect()
      await queue.close()
    },
  }
}

/** At one moment. */
async function deadAndWaiting(probe: Redis): Promise<readonly [dead: number, waiting: number]> {
  const replies = await probe.multi().zcard(`${prefix}:v1:failed`).llen(`${prefix}:v1:wait`).exec()
  const [dead, waiting] = (replies ?? []).map(([, count]) => Number(count))
  return [dead ?? NaN, waiting ?? NaN]
}
