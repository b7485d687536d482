/**
 * Queues. On RabbitMQ: ours (the portable type on queue-rabbitmq), raw amqplib with the same window of 256 and one ack a job, and other libraries; all on a quorum queue. On
 * Redis: ours, raw BullMQ, and another library with its defaults; raw `addMany` is one `addBulk(1000)` after the other. In memory: ours, and the driver alone. The servers and all
 * sides are on this machine; jobs have 250 bytes of JSON and handlers that do nothing.
 *
 * Aims, not judged here: publish >= 0.90 x raw, consume >= 1.0 x raw; add >= 0.92 x raw, addMany >= 1.5 x raw, worker >= 0.90 x raw; memory >= 100,000 jobs/s; core's cost <= 15 us a job; the cost of a job the same
 * with 1,000 and with 1,000,000 waiting.
 */
import { type QueueLine, Queues } from '@multinode/core'
import { capabilityContext, memoryQueue, pluginContext } from '@multinode/core/testing'
import { type RedisServer, startRabbitmq, startRedis, waitUntil } from '@multinode/testbed'
import type { Bench, BenchCase, Round } from './harness.ts'
import { onRabbitmq } from './queue-rabbitmq-sides.ts'
import {
  type BenchPayload,
  onRedis,
  openOurs,
  type OpenQueue,
  payloadOf,
  type QueueSide,
} from './queue-sides.ts'

const bench: Bench = {
  about:
    'queues on RabbitMQ, on Redis and in memory: adding, working, growth; ours, raw clients and other libraries',
  async prepare(resources) {
    const redis = resources.use(await startRedis({ aof: true, args: ['--appendfsync', 'everysec'] }))
    const rabbitmq = resources.use(await startRabbitmq())
    const emptyRedis = async (): Promise<string> => {
      await redis.flush()
      return redis.url
    }
    const emptyRabbitmq = async (): Promise<string> => {
      for (const { name } of await rabbitmq.queues()) await rabbitmq.deleteQueue(name)
      return rabbitmq.url
    }
    return [
      between('rabbitmq publish', onRabbitmq, emptyRabbitmq, adding(256)),
      between('rabbitmq consume', onRabbitmq, emptyRabbitmq, working),
      between('redis add', onRedis, emptyRedis, adding(64)),
      between('redis addMany', onRedis, emptyRedis, addingMany),
      between('redis worker', onRedis, emptyRedis, working),
      memory(),
      await coreCost(resources),
      ...[1_000, 100_000, 1_000_000].map((waiting) => growth(redis, waiting, resources)),
    ]
  },
}

export default bench

const fewRounds = { warmUp: 1, counted: 9 }
const jobs = 10_000
const defaultInFlight = 64
const concurrency = 50

type Measure = (side: QueueSide) => Promise<number>

interface Sides {
  readonly ours: OpenQueue
  readonly raw: OpenQueue
  readonly peers: Readonly<Record<string, OpenQueue>>
}

/** @param empty of the server, before each round: returns its address */
function between(name: string, sides: Sides, empty: () => Promise<string>, measure: Measure): BenchCase {
  const round = (open: OpenQueue): Round => {
    return async () => {
      await using side = await open(await empty())
      return await measure(side)
    }
  }
  const peers = Object.entries(sides.peers).map(([peer, open]) => [peer, round(open)] as const)
  return {
    name,
    unit: 'jobs/s',
    better: 'higher',
    rounds: fewRounds,
    ours: round(sides.ours),
    raw: round(sides.raw),
    peers: Object.fromEntries(peers),
  }
}

async function perSecond(count: number, work: () => Promise<unknown>): Promise<number> {
  const startedAtMs = performance.now()
  await work()
  return (count * 1_000) / (performance.now() - startedAtMs)
}

function adding(inFlight: number): Measure {
  return async (side) => {
    await side.add(payloadOf(-1))
    return perSecond(jobs, () => addAll(side, jobs, inFlight))
  }
}

async function addAll(
  side: Pick<QueueSide, 'add'>,
  count: number,
  inFlight: number = defaultInFlight,
): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < count) {
      next += 1
      await side.add(payloadOf(next))
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
}

const addingMany: Measure = async (side) => {
  const payloads = Array.from({ length: jobs }, (_, n) => payloadOf(n))
  return perSecond(jobs, () => side.addMany(payloads))
}

const working: Measure = async (side) => {
  await side.addMany(Array.from({ length: jobs }, (_, n) => payloadOf(n)))
  return runAll(side, jobs)
}

async function runAll(side: QueueSide, count: number): Promise<number> {
  let done = 0
  let onDone: () => void = () => {}
  const all = new Promise<void>((resolve) => (onDone = resolve))
  const startedAtMs = performance.now()
  await using _worker = await side.work(concurrency, () => {
    done += 1
    if (done === count) onDone()
  })
  await all
  return (count * 1_000) / (performance.now() - startedAtMs)
}

const memoryJobs = 100_000

/** Added and run at the same time, by one process. */
function memory(): BenchCase {
  const ours: Round = async () => {
    await using side = await openOurs(() => memoryQueue)('')
    let done = 0
    await using _worker = await side.work(concurrency, () => (done += 1))
    return await perSecond(memoryJobs, async () => {
      await addAll(side, memoryJobs)
      await waitUntil('all to be done', () => done === memoryJobs, { everyMs: 1 })
    })
  }
  const raw: Round = async () => {
    const driver = await memoryQueue.create(pluginContext())
    const line = await driver.open({ name: 'raw', hasPriorities: false }, 1_000)
    let done = 0
    await consumeBare(line, () => (done += 1))
    const side = { add: ({ n }: BenchPayload) => line.add([bareJob(String(n))], 1_000) }
    const figure = await perSecond(memoryJobs, async () => {
      await addAll(side, memoryJobs)
      await waitUntil('all to be done', () => done === memoryJobs, { everyMs: 1 })
    })
    await driver.close()
    return figure
  }
  return { name: 'memory', unit: 'jobs/s', better: 'higher', rounds: fewRounds, ours, raw }
}

/** One job is added, run and done: the portable type on the memory driver, and that driver alone. */
async function coreCost(resources: AsyncDisposableStack): Promise<BenchCase> {
  const driver = await memoryQueue.create(pluginContext())
  resources.defer(() => driver.close())
  const queues = new Queues(driver, capabilityContext('queue', 'memory'))
  resources.defer(() => queues.close())
  const queue = queues.open('ours')
  let onDone: () => void = () => {}
  await queue.process(() => onDone(), { concurrency })
  const line = await driver.open({ name: 'raw', hasPriorities: false }, 1_000)
  let onRaw: () => void = () => {}
  await consumeBare(line, () => onRaw())
  const round = (add: () => Promise<unknown>, listen: (onEach: () => void) => void): Round => {
    return async () => {
      let left = memoryJobs / 10
      const all = new Promise<void>((resolve) => {
        listen(() => {
          left -= 1
          if (left === 0) resolve()
        })
      })
      const startedAtMs = performance.now()
      for (let begin = 0; begin < memoryJobs / 10; begin += defaultInFlight)
        await Promise.all(Array.from({ length: Math.min(defaultInFlight, memoryJobs / 10 - begin) }, add))
      await all
      return ((performance.now() - startedAtMs) * 1_000) / (memoryJobs / 10)
    }
  }
  let id = 0
  return {
    name: 'core cost',
    unit: 'us a job',
    better: 'lower',
    ours: round(
      () => queue.add(payloadOf(0)),
      (onEach) => (onDone = onEach),
    ),
    raw: round(
      () => line.add([bareJob(`${(id += 1)}`)], 1_000),
      (onEach) => (onRaw = onEach),
    ),
  }
}

function bareJob(id: string): Parameters<QueueLine['add']>[0][number] {
  const backoff = { type: 'fixed', delayMs: 0, maxDelayMs: 0, jitter: 0 } as const
  const record = {
    id,
    payload: JSON.stringify(payloadOf(0)),
    headers: {},
    addedAtMs: 0,
    attemptsMax: 1,
    backoff,
    timeoutMs: undefined,
    expiresAtMs: undefined,
  }
  return { record, delayMs: 0, priority: 'normal', dedupe: undefined }
}

async function consumeBare(line: QueueLine, onJob: () => void): Promise<void> {
  const options = { concurrency, prefetch: concurrency, leaseMs: 30_000, maxCrashes: 1 }
  const ignore = (): void => {}
  const run = async (): Promise<{ type: 'done' }> => {
    onJob()
    return { type: 'done' }
  }
  await line.consume(options, { run, lost: ignore, settleIgnored: ignore, stalled: ignore }, 1_000)
}

const sample = 5_000

/** While so many wait, some more are added and as many run. */
function growth(server: RedisServer, waiting: number, resources: AsyncDisposableStack): BenchCase {
  const round = (open: OpenQueue): Round => {
    let side: QueueSide | undefined
    return async () => {
      // Filled once: a million take a minute.
      side ??= resources.use(await filled(server, open, waiting))
      const startedAtMs = performance.now()
      await addAll(side, sample)
      await runAll(side, sample)
      return ((performance.now() - startedAtMs) * 1_000) / sample
    }
  }
  return {
    name: `waiting ${waiting >= 1e6 ? `${waiting / 1e6}M` : `${waiting / 1_000}k`}`,
    unit: 'us a job',
    better: 'lower',
    rounds: { warmUp: 0, counted: 3 },
    ours: round(onRedis.ours),
  }
}

async function filled(server: RedisServer, open: OpenQueue, waiting: number): Promise<QueueSide> {
  await server.flush()
  const side = await open(server.url)
  for (let begin = 0; begin < waiting; begin += 10_000) {
    const count = Math.min(10_000, waiting - begin)
    await side.addMany(Array.from({ length: count }, (_, n) => payloadOf(n)))
  }
  return side
}
