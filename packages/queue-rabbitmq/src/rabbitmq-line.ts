import type { RabbitmqConnection, SupervisedChannel } from '@multinode/connection-rabbitmq'
import {
  type AddReply,
  type Clock,
  type ConsumeOptions,
  type Consumer,
  type DeadJob,
  isMultinodeError,
  type JobReceiver,
  MultinodeError,
  type NewJob,
  type QueueCounts,
  type QueueLine,
} from '@multinode/core'
import type { Channel } from 'amqplib'
import { countdown, isOver } from './countdown.ts'
import { isFor } from './delay-digits.ts'
import type { DelayLine } from './delay-line.ts'
import { failureByServer, type QueuedJob, readJob, unreadableJob } from './job-message.ts'
import { JobPublisher } from './job-publisher.ts'
import { JobSender } from './job-sender.ts'
import { readQueue } from './queue-reader.ts'
import type { ClusterNames } from './queue-names.ts'
import { RabbitmqConsumer } from './rabbitmq-consumer.ts'
import { isTooLarge } from './too-large.ts'
import type { LineTopology } from './topology.ts'

/** How many jobs of one call may be unconfirmed: the server writes many at once, and more than that gains nothing. */
const window = 256
/** Of all calls: beyond that the caller is told. */
const mostBytes = 64 * 1_048_576
/** Headers may grow to six times their size as JSON, and a failure comes with a dead letter. */
const mostMessageBytes = 8 * 1_048_576
/** The most that AMQP can say. */
const anyNumber = 65_535
const redrivesAtOnce = 256
/** What was looked at goes behind the others, so that the oldest ones are known only to those who look at all. */
const mostLookedAt = 10_000

export interface LineParts {
  readonly connection: RabbitmqConnection
  readonly topology: LineTopology
  readonly cluster: ClusterNames
  readonly delayLine: DelayLine
  readonly name: string
  readonly nodeId: string
  readonly clock: Clock
  readonly callTimeoutMs: number
  readonly report: (error: unknown) => void
}

/** One queue: a quorum queue, or three of them with priorities, and one for its dead letters. */
export class RabbitmqLine implements QueueLine {
  readonly #parts: LineParts
  readonly #channel: SupervisedChannel
  readonly #publisher: JobPublisher
  readonly #sender: JobSender
  readonly #consumers = new Set<RabbitmqConsumer>()
  #isClosed = false

  constructor(parts: LineParts) {
    const { connection, topology, cluster, delayLine, name, clock } = parts
    this.#parts = parts
    this.#channel = connection.channel({
      name: `the queue ${name}`,
      setup: (channel) => topology.declare(channel),
    })
    this.#publisher = new JobPublisher(clock, () =>
      connection.publisher({
        name: `the queue ${name}`,
        maxBytes: mostBytes,
        maxMessageBytes: mostMessageBytes,
      }),
    )
    this.#sender = new JobSender({
      publisher: this.#publisher,
      cluster,
      names: topology.names,
      delayLine,
      clock,
      redeclare: (timeoutMs) => this.#run('declaring', timeoutMs, (channel) => topology.declare(channel)),
    })
  }

  /** Resolves when its queues are there. */
  open(timeoutMs: number): Promise<void> {
    return this.#channel.whenReady(timeoutMs)
  }

  async add(jobs: readonly NewJob[], timeoutMs: number): Promise<AddReply[]> {
    const [only] = jobs
    const leftMs = countdown(this.#parts.clock, timeoutMs)
    if (only !== undefined && jobs.length === 1) return [await this.#addOne(only, leftMs())]
    const replies: AddReply[] = []
    let taken = 0
    const addInTurn = async (): Promise<void> => {
      for (let index = taken++; index < jobs.length; index = taken++) {
        const job = jobs[index]
        if (job !== undefined)
          replies[index] = isOver(leftMs) ? this.#tooLate() : await this.#addOne(job, leftMs())
      }
    }
    await Promise.all(Array.from({ length: Math.min(window, jobs.length) }, addInTurn))
    return replies
  }

  async consume(options: ConsumeOptions, receiver: JobReceiver, timeoutMs: number): Promise<Consumer> {
    const { connection, topology, nodeId, clock, callTimeoutMs, report } = this.#parts
    const consumer = new RabbitmqConsumer({
      connection,
      topology,
      sender: this.#sender,
      nodeId,
      clock,
      callTimeoutMs,
      report,
      options,
      receiver,
      onClose: () => this.#consumers.delete(consumer),
    })
    this.#consumers.add(consumer)
    try {
      await consumer.start(timeoutMs)
      if (this.#isClosed) throw closedMeanwhile()
    } catch (error) {
      // Its channels may take their time to end, which the caller has not got.
      void consumer.close()
      throw error
    }
    return consumer
  }

  async counts(timeoutMs: number): Promise<QueueCounts> {
    const { names, priorities } = this.#parts.topology
    return this.#run('counting', timeoutMs, async (channel) => {
      let waiting = 0
      for (const each of priorities) waiting += (await channel.checkQueue(names.work[each])).messageCount
      const { messageCount: dead } = await channel.checkQueue(names.dead)
      return { waiting, active: null, delayed: null, dead, oldestWaitingMs: null }
    })
  }

  async purge(timeoutMs: number): Promise<number> {
    const { delayLine, cluster, topology } = this.#parts
    const leftMs = countdown(this.#parts.clock, timeoutMs)
    let removed = 0
    // Jobs move towards the shorter waits, and to the queue in the end: in this order none slips past.
    for (const level of await delayLine.levels(leftMs())) {
      removed += await this.#purgeLevel(cluster.delay(level), leftMs())
    }
    for (const each of topology.priorities) {
      const queue = topology.names.work[each]
      const purged = await this.#run('purging', leftMs(), (channel) => channel.purgeQueue(queue))
      removed += purged.messageCount
    }
    return removed
  }

  async listDead(limit: number, timeoutMs: number): Promise<DeadJob[]> {
    let found: DeadJob[] = []
    await this.#read(this.#parts.topology.names.dead, mostLookedAt, timeoutMs, async (reader) => {
      for (let left = Math.max(limit, mostLookedAt); left > 0; left -= 1) {
        const message = await reader.next()
        if (message === undefined) return
        const job = readJob(message) ?? unreadableJob(message, this.#parts.clock.wallMs())
        found.push({ record: job.record, failure: job.failure ?? failureByServer(job, message) })
        if (found.length >= 2 * limit) found = oldest(found, limit)
      }
    })
    return oldest(found, limit)
  }

  async redrive(
    { ids, limit }: { readonly ids?: readonly string[]; readonly limit: number },
    timeoutMs: number,
  ): Promise<number> {
    const wanted = ids === undefined ? undefined : new Set(ids)
    const leftMs = countdown(this.#parts.clock, timeoutMs)
    // Those that are not wanted stay in our hands until the end, so that they must not be in the way.
    const prefetch = wanted === undefined ? Math.min(limit, redrivesAtOnce) : anyNumber
    let redriven = 0
    await this.#read(this.#parts.topology.names.dead, prefetch, timeoutMs, async (reader) => {
      const underWay = new Set<Promise<void>>()
      let chosen = 0
      const failures: unknown[] = []
      const isEnough = async (): Promise<boolean> => {
        // Some of those that were chosen may be skipped yet.
        if (chosen >= limit) await Promise.all(underWay)
        return chosen >= limit || wanted?.size === 0 || failures.length > 0 || isOver(leftMs)
      }
      while (!(await isEnough())) {
        const message = await reader.next()
        if (message === undefined) break
        const job = readJob(message) ?? unreadableJob(message, this.#parts.clock.wallMs())
        if (wanted !== undefined && !wanted.delete(job.record.id)) continue
        chosen += 1
        const work = this.#sender
          .send(revived(job), 0, leftMs())
          .then(() => {
            reader.remove(message)
            redriven += 1
          })
          .catch((error: unknown) => {
            if (wanted !== undefined || !isTooLarge(error)) return void failures.push(error)
            // It stays a dead letter, and must not be in the way of the others.
            this.#parts.report(error)
            chosen -= 1
          })
          .finally(() => underWay.delete(work))
        underWay.add(work)
        if (underWay.size >= redrivesAtOnce) await Promise.race(underWay)
      }
      await Promise.all(underWay)
      if (failures.length > 0) throw failures[0]
    })
    return redriven
  }

  async purgeDead(timeoutMs: number): Promise<number> {
    const { dead } = this.#parts.topology.names
    const { messageCount } = await this.#run('purging dead letters', timeoutMs, (channel) =>
      channel.purgeQueue(dead),
    )
    return messageCount
  }

  /** Never rejects. Comes before {@link close}: they send what became of their jobs. */
  async closeConsumers(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#consumers].map((consumer) => consumer.close()))
  }

  /** Never rejects. */
  async close(): Promise<void> {
    await Promise.all([this.#publisher.close(), this.#channel.close()])
  }

  async #addOne({ record, delayMs, priority }: NewJob, timeoutMs: number): Promise<AddReply> {
    const job: QueuedJob = {
      record,
      priority,
      attempt: 1,
      crashes: 0,
      wasStarted: false,
      restMs: 0,
      failure: undefined,
    }
    try {
      await this.#sender.send(job, delayMs, timeoutMs)
      return { status: 'added', id: record.id }
    } catch (error) {
      if (!isMultinodeError(error)) throw error
      return { status: 'failed', error }
    }
  }

  /** Of a job whose turn did not come: what is sent without time to be confirmed costs the others their channel. */
  #tooLate(): AddReply {
    const { connection, name } = this.#parts
    const error = new MultinodeError(
      'TIMEOUT',
      `RabbitMQ at ${connection.address}: the time of the call was over before a job was sent to the queue ${name}. Add fewer at once, or give it more time.`,
      { capability: 'queue', backend: 'rabbitmq', outcome: 'not-sent' },
    )
    return { status: 'failed', error }
  }

  async #purgeLevel(queue: string, timeoutMs: number): Promise<number> {
    const { key } = this.#parts.topology.names
    const keys = new Set(Object.values(key))
    let removed = 0
    await this.#read(queue, anyNumber, timeoutMs, async (reader) => {
      for (let message = await reader.next(); message !== undefined; message = await reader.next()) {
        if (!isFor(message.fields.routingKey, keys)) continue
        reader.remove(message)
        removed += 1
      }
    })
    return removed
  }

  #read<T>(
    queue: string,
    prefetch: number,
    timeoutMs: number,
    work: Parameters<typeof readQueue<T>>[1],
  ): Promise<T> {
    const { connection, clock } = this.#parts
    return readQueue({ connection, clock, queue, prefetch, timeoutMs }, work)
  }

  async #run<T>(operation: string, timeoutMs: number, work: (channel: Channel) => Promise<T>): Promise<T> {
    const leftMs = countdown(this.#parts.clock, timeoutMs)
    await this.#channel.whenReady(timeoutMs)
    return this.#channel.run(operation, leftMs(), work)
  }
}

function oldest(jobs: readonly DeadJob[], limit: number): DeadJob[] {
  return jobs.toSorted((a, b) => a.failure.atMs - b.failure.atMs).slice(0, limit)
}

/** As new, but for its expiry: it was in time once. */
function revived(job: QueuedJob): QueuedJob {
  return { ...job, attempt: 1, crashes: 0, wasStarted: true, restMs: 0, failure: undefined }
}

function closedMeanwhile(): MultinodeError {
  return new MultinodeError('CLOSED', 'queue on rabbitmq: closed while a worker began.', {
    capability: 'queue',
    backend: 'rabbitmq',
    outcome: 'not-sent',
  })
}
