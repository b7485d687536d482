/** Queues on Redis: ours, raw BullMQ, and another library with its defaults. All are on ioredis 6, the last one too, which asks for 5. */
import { Locator, QueueManager, Job as PeerJob, Worker as PeerWorker } from '@boringnode/queue'
import { redis as peerRedis } from '@boringnode/queue/drivers/redis_adapter'
import { type QueuePlugin, Queues } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { redisQueue } from '@multinode/queue-redis'
import { Queue as BullQueue, Worker as BullWorker } from 'bullmq'
import { Redis } from 'ioredis'

/** 250 bytes of JSON. */
export interface BenchPayload {
  readonly n: number
  readonly padding: string
}

export const payloadOf = (n: number): BenchPayload => ({ n, padding: 'x'.repeat(230) })

/** One queue with nothing in it. */
export interface QueueSide extends AsyncDisposable {
  add(payload: BenchPayload): Promise<unknown>
  /** All of them, as fast as it can. */
  addMany(payloads: readonly BenchPayload[]): Promise<unknown>
  /** Calls `onJob` for each job, at most `concurrency` at once, until it is disposed of. */
  work(concurrency: number, onJob: () => void): Promise<AsyncDisposable>
}

export type OpenQueue = (url: string) => Promise<QueueSide>

export function openOurs(toPlugin: (url: string) => QueuePlugin): OpenQueue {
  return async (url) => {
    const plugin = toPlugin(url)
    const driver = await plugin.create(pluginContext({ connectTimeoutMs: 10_000 }))
    const queues = new Queues(driver, capabilityContext('queue', plugin.backend, { callTimeoutMs: 60_000 }))
    const queue = queues.open<BenchPayload>('bench')
    return {
      add: (payload) => queue.add(payload),
      addMany: (payloads) => queue.addMany(payloads.map((payload) => ({ payload }))),
      work: (concurrency, onJob) => queue.process(async () => onJob(), { concurrency }),
      async [Symbol.asyncDispose]() {
        await queues.close()
        await driver.close()
      },
    }
  }
}

/** As its documentation says, with what it needs to keep the memory of finished jobs free. */
const openRaw: OpenQueue = async (url) => {
  const connection = new Redis(url, { maxRetriesPerRequest: null })
  const defaultJobOptions = { removeOnComplete: true }
  const queue = new BullQueue<BenchPayload>('bench', { connection, defaultJobOptions })
  return {
    add: (payload) => queue.add('job', payload),
    async addMany(payloads) {
      for (let begin = 0; begin < payloads.length; begin += 1_000) {
        await queue.addBulk(payloads.slice(begin, begin + 1_000).map((data) => ({ name: 'job', data })))
      }
    },
    async work(concurrency, onJob) {
      const own = new Redis(url, { maxRetriesPerRequest: null })
      const worker = new BullWorker('bench', async () => onJob(), { connection: own, concurrency })
      await worker.waitUntilReady()
      return {
        async [Symbol.asyncDispose]() {
          await worker.close()
          await own.quit()
        },
      }
    },
    async [Symbol.asyncDispose]() {
      await queue.close()
      await connection.quit()
    },
  }
}

let onPeerJob: () => void = () => {}

class BenchJob extends PeerJob<BenchPayload> {
  static override options = { name: 'BenchJob', queue: 'bench' }

  override async execute(): Promise<void> {
    onPeerJob()
  }
}

const openPeer: OpenQueue = async (url) => {
  const { hostname, port } = new URL(url)
  const adapters = { redis: peerRedis({ host: hostname, port: Number(port) }) }
  const configuration = (concurrency: number) => ({
    default: 'redis',
    adapters,
    worker: { concurrency, idleDelay: '10ms' },
  })
  await QueueManager.init(configuration(1))
  Locator.register('BenchJob', BenchJob)
  return {
    add: (payload) => BenchJob.dispatch(payload).run(),
    addMany: (payloads) => BenchJob.dispatchMany([...payloads]).run(),
    async work(concurrency, onJob) {
      onPeerJob = onJob
      const worker = new PeerWorker(configuration(concurrency))
      const ended = worker.start(['bench'])
      return {
        async [Symbol.asyncDispose]() {
          await worker.stop()
          await ended
        },
      }
    },
    [Symbol.asyncDispose]: () => QueueManager.destroy(),
  }
}

export const onRedis = {
  ours: openOurs((url) => redisQueue({ url })),
  raw: openRaw,
  peers: { '@boringnode/queue': openPeer },
}
