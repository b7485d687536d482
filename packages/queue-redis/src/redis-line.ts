import { type RedisConnection, RedisScript, toRedisError } from '@multinode/connection-redis'
import {
  type AddReply,
  type Clock,
  type ConsumeOptions,
  type Consumer,
  type DeadJob,
  isMultinodeError,
  type JobPriority,
  type JobReceiver,
  MultinodeError,
  type NewJob,
  type Outcome,
  type QueueCounts,
  type QueueLine,
  type StoredJob,
  withDeadline,
} from '@multinode/core'
import { Job, type JobsOptions, Queue } from 'bullmq'
import { backendOn, bullName, bullOptions, PartlyAdded } from './bull-backend.ts'
import { fromBull, isRefusal, refused } from './bull-errors.ts'
import { forgetCrashesLua } from './forget-crashes.lua.ts'
import { readFailure, readJobData, toJobData, unreadableRecord } from './job-data.ts'
import { RedisConsumer } from './redis-consumer.ts'

/** How many jobs travel in one pipeline, and how many pipelines at once: beyond that nothing is gained. */
const chunkSize = 250
const chunksAtOnce = 4
/** How many dead letters are read at once: each may be a megabyte. */
const listChunkSize = 50
/** How many jobs one script removes: it blocks the server meanwhile. */
const cleanChunkSize = 1_000
/** How many events BullMQ keeps for whoever watches the queue with tools of its own. */
const keptEvents = 1_000
/** Later than any clock. */
const anyTime = Number.MAX_SAFE_INTEGER
const priorities: Readonly<Record<JobPriority, number>> = { high: 1, normal: 2, low: 3 }

const forgetCrashes = new RedisScript('forget-crashes', forgetCrashesLua)

export interface LineParts {
  /** For all but the taking of jobs: fails at once when the server is away. */
  readonly connection: RedisConnection
  readonly prefix: string
  readonly hasPriorities: boolean
  readonly nodeId: string
  readonly clock: Clock
  readonly callTimeoutMs: number
  readonly report: (error: unknown) => void
}

/** One queue. Each call of BullMQ is one round trip here, with a deadline. */
export class RedisLine implements QueueLine {
  readonly #parts: LineParts
  readonly #queue: Queue<unknown, void, string>
  readonly #consumers = new Set<RedisConsumer>()
  /** By script: the add that brings it to the server. */
  readonly #firstAdds = new Map<string, Promise<AddReply>>()
  readonly #knownScripts = new Set<string>()
  #isClosed = false

  constructor(parts: LineParts) {
    this.#parts = parts
    const { client } = parts.connection
    this.#queue = new Queue<unknown, void, string>(
      bullName,
      { ...bullOptions(client), skipMetasUpdate: true },
      backendOn(parts.prefix, client),
    )
    // Callers are told by their calls.
    this.#queue.on('error', () => {})
  }

  /** Writes what BullMQ wants to know of a queue; a user without the right to is told so here. */
  async open(timeoutMs: number): Promise<void> {
    const meta = { 'opts.maxLenEvents': keptEvents, version: 'multinode:1' }
    await this.#run('open', timeoutMs, () => this.#queue.getBackend().setQueueMeta(meta))
  }

  async add(jobs: readonly NewJob[], timeoutMs: number): Promise<AddReply[]> {
    const [only] = jobs
    if (only !== undefined && jobs.length === 1) return [await this.#addOne(only, timeoutMs)]
    const leftMs = this.#countdown(timeoutMs, 'not-sent')
    const chunks = chunked(jobs, chunkSize)
    const replies: AddReply[][] = []
    let taken = 0
    const addInTurn = async (): Promise<void> => {
      for (let index = taken++; index < chunks.length; index = taken++) {
        replies[index] = await this.#addChunk(chunks[index] ?? [], leftMs)
      }
    }
    await Promise.all(Array.from({ length: chunksAtOnce }, addInTurn))
    return replies.flat()
  }

  async consume(options: ConsumeOptions, receiver: JobReceiver, timeoutMs: number): Promise<Consumer> {
    const { connection, prefix, nodeId, clock, callTimeoutMs, report } = this.#parts
    const consumer = new RedisConsumer({
      connection,
      prefix,
      nodeId,
      clock,
      callTimeoutMs,
      report,
      options,
      receiver,
      hasJobs: async () => {
        const { waiting, delayed, prioritized } = await this.#countsOf(callTimeoutMs)
        return waiting + delayed + prioritized > 0
      },
      progress: (id, value, ms) => this.#progress(id, value, ms),
      onClose: () => this.#consumers.delete(consumer),
    })
    this.#consumers.add(consumer)
    try {
      await consumer.start(timeoutMs)
      if (this.#isClosed) throw closedMeanwhile()
    } catch (error) {
      await consumer.close()
      throw error
    }
    return consumer
  }

  async counts(timeoutMs: number): Promise<QueueCounts> {
    const leftMs = this.#countdown(timeoutMs)
    const { waiting, prioritized, active, delayed, failed } = await this.#countsOf(leftMs())
    const sinceMs = waiting + prioritized === 0 ? undefined : await this.#nextSinceMs(leftMs())
    return {
      waiting: waiting + prioritized,
      active,
      delayed,
      dead: failed,
      oldestWaitingMs: sinceMs === undefined ? 0 : Math.max(0, this.#parts.clock.wallMs() - sinceMs),
    }
  }

  async purge(timeoutMs: number): Promise<number> {
    const leftMs = this.#countdown(timeoutMs)
    let removed = 0
    for (const state of ['wait', 'prioritized', 'delayed']) removed += await this.#clean(state, leftMs)
    return removed
  }

  async listDead(limit: number, timeoutMs: number): Promise<DeadJob[]> {
    const leftMs = this.#countdown(timeoutMs)
    const found: DeadJob[] = []
    while (found.length < limit) {
      const size = Math.min(listChunkSize, limit - found.length)
      const first = found.length
      const jobs = await this.#run('listing dead letters', leftMs(), () =>
        this.#queue.getJobs(['failed'], first, first + size - 1, true),
      )
      found.push(...jobs.map(toDeadJob))
      if (jobs.length < size) break
    }
    return found
  }

  async redrive(
    { ids, limit }: { readonly ids?: readonly string[]; readonly limit: number },
    timeoutMs: number,
  ): Promise<number> {
    const leftMs = this.#countdown(timeoutMs)
    const chosen =
      ids === undefined ? await this.#deadIds(limit, leftMs()) : [...new Set(ids)].slice(0, limit)
    let moved = 0
    for (const chunk of chunked(chosen, chunkSize)) {
      const keys = chunk.map((id) => this.#queue.toKey(id))
      await this.#parts.connection.script(forgetCrashes, keys, [], leftMs())
      const timeLeftMs = leftMs()
      const results = await Promise.all(chunk.map((id) => this.#redriveOne(id, timeLeftMs)))
      moved += results.filter(Boolean).length
    }
    return moved
  }

  purgeDead(timeoutMs: number): Promise<number> {
    return this.#clean('failed', this.#countdown(timeoutMs))
  }

  async pauseAll(isPaused: boolean, timeoutMs: number): Promise<void> {
    const queue = this.#queue
    await this.#run('pause', timeoutMs, () => (isPaused ? queue.pause() : queue.resume()))
  }

  async get(id: string, timeoutMs: number): Promise<StoredJob | undefined> {
    const leftMs = this.#countdown(timeoutMs)
    const state = await this.#stateOf(id, leftMs())
    if (state === undefined) return undefined
    const job = await this.#run('get', leftMs(), () => this.#queue.getJob(id))
    if (job === undefined) return undefined
    const { progress } = job
    return {
      record: recordOf(job),
      state,
      attempt: job.attemptsMade + 1,
      progress: progress instanceof Object ? Reflect.get(progress, 'v') : undefined,
    }
  }

  async remove(id: string, timeoutMs: number): Promise<'removed' | 'running' | 'not-found'> {
    const leftMs = this.#countdown(timeoutMs)
    const state = await this.#stateOf(id, leftMs())
    if (state === undefined || state === 'dead') return 'not-found'
    if (state === 'active') return 'running'
    const removed = await this.#run('remove', leftMs(), () =>
      this.#queue.remove(id, { removeChildren: false }),
    )
    return removed === 1 ? 'removed' : 'running'
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#consumers].map((consumer) => consumer.close()))
    // Its client is not its own: nothing is sent.
    await this.#queue.close()
  }

  #addOne(job: NewJob, timeoutMs: number): Promise<AddReply> {
    const script = job.delayMs > 0 ? 'delayed' : 'waiting'
    if (this.#knownScripts.has(script)) return this.#sendOne(job, timeoutMs)
    return this.#addInTurn(script, job, this.#countdown(timeoutMs, 'not-sent'))
  }

  /** A script that the server does not know is sent a second time, and those behind it would overtake it. */
  async #addInTurn(script: string, job: NewJob, leftMs: () => number): Promise<AddReply> {
    const { clock } = this.#parts
    try {
      for (
        let first = this.#firstAdds.get(script);
        first !== undefined;
        first = this.#firstAdds.get(script)
      ) {
        // Its own time counts, not that of the first one.
        await withDeadline(clock, leftMs(), first, () => new Error('late')).catch(() => {})
      }
      const sent = this.#sendOne(job, leftMs())
      if (this.#knownScripts.has(script)) return await sent
      this.#firstAdds.set(script, sent)
      const reply = await sent
      this.#firstAdds.delete(script)
      if (reply.status !== 'failed') this.#knownScripts.add(script)
      return reply
    } catch (error) {
      return this.#toFailure(error)
    }
  }

  async #sendOne(job: NewJob, timeoutMs: number): Promise<AddReply> {
    try {
      const { id } = await this.#run('add', timeoutMs, () =>
        this.#queue.add(bullName, toJobData(job.record), this.#toOptions(job)),
      )
      return toReply(job, id)
    } catch (error) {
      return this.#toFailure(error)
    }
  }

  async #addChunk(jobs: readonly NewJob[], leftMs: () => number): Promise<AddReply[]> {
    try {
      const results = await this.#run('add', leftMs(), () => this.#addBulk(jobs))
      return jobs.map((job, index) => {
        const result = results[index]
        return result instanceof Error ? this.#toFailure(result) : toReply(job, result)
      })
    } catch (error) {
      const failure = this.#toFailure(error)
      return jobs.map(() => failure)
    }
  }

  async #addBulk(jobs: readonly NewJob[]): Promise<readonly (string | Error | undefined)[]> {
    try {
      const added = await this.#queue.addBulk(
        jobs.map((job) => ({ name: bullName, data: toJobData(job.record), opts: this.#toOptions(job) })),
      )
      return added.map(({ id }) => id)
    } catch (error) {
      if (error instanceof PartlyAdded) return error.results
      throw error
    }
  }

  #toFailure(error: unknown): AddReply {
    return { status: 'failed', error: this.#toError(error, 'add') }
  }

  #toOptions({ record, delayMs, priority, dedupe }: NewJob): JobsOptions {
    return {
      jobId: record.id,
      attempts: record.attemptsMax,
      backoff: { type: 'custom' },
      removeOnComplete: true,
      removeOnFail: false,
      // The reason of its failure has it already.
      stackTraceLimit: 0,
      ...(delayMs > 0 ? { delay: Math.ceil(delayMs) } : {}),
      ...(this.#parts.hasPriorities ? { priority: priorities[priority] } : {}),
      ...(dedupe === undefined ? {} : { deduplication: toDeduplication(dedupe) }),
    }
  }

  async #progress(id: string, value: unknown, timeoutMs: number): Promise<void> {
    await this.#run('progress', timeoutMs, () => this.#queue.updateJobProgress(id, { v: value }))
  }

  async #stateOf(id: string, timeoutMs: number): Promise<StoredJob['state'] | undefined> {
    const state = await this.#run('get', timeoutMs, () => this.#queue.getJobState(id))
    if (state === 'failed') return 'dead'
    if (state === 'prioritized') return 'waiting'
    return state === 'waiting' || state === 'active' || state === 'delayed' ? state : undefined
  }

  async #countsOf(
    timeoutMs: number,
  ): Promise<Record<'waiting' | 'prioritized' | 'active' | 'delayed' | 'failed', number>> {
    const counts = await this.#run('counts', timeoutMs, () =>
      this.#queue.getJobCounts('waiting', 'prioritized', 'active', 'delayed', 'failed'),
    )
    return { waiting: 0, prioritized: 0, active: 0, delayed: 0, failed: 0, ...counts }
  }

  /** Since when the job that is next waits, by the clock of the node that added it. */
  async #nextSinceMs(timeoutMs: number): Promise<number | undefined> {
    const jobs = await this.#run('counts', timeoutMs, () =>
      this.#queue.getJobs(['waiting', 'prioritized'], 0, 0, true),
    )
    const since = jobs.map(({ timestamp, delay }) => timestamp + (delay ?? 0))
    return since.length === 0 ? undefined : Math.min(...since)
  }

  async #clean(state: string, leftMs: () => number): Promise<number> {
    const backend = this.#queue.getBackend()
    for (let removed = 0; ;) {
      const timeoutMs = leftMs()
      const ids = await this.#run('purge', timeoutMs, () =>
        backend.cleanJobsByState(state, anyTime, cleanChunkSize),
      )
      removed += ids.length
      if (ids.length < cleanChunkSize) return removed
    }
  }

  async #deadIds(limit: number, timeoutMs: number): Promise<string[]> {
    const key = this.#queue.toKey('failed')
    const ids = await this.#parts.connection.command('ZRANGE', [key, 0, limit - 1], timeoutMs)
    return Array.isArray(ids) ? ids.map(String) : []
  }

  async #redriveOne(id: string, timeoutMs: number): Promise<boolean> {
    const job = new Job(this.#queue, bullName, {}, {}, id)
    try {
      await this.#run('redrive', timeoutMs, () => job.retry('failed', { resetAttemptsMade: true }))
      return true
    } catch (error) {
      // Somebody else was faster, or it is no dead letter.
      if (isMultinodeError(error) && isRefusal(error.cause)) return false
      throw error
    }
  }

  #run<T>(operation: string, timeoutMs: number, work: () => Promise<T>): Promise<T> {
    return this.#parts.connection.run(operation, timeoutMs, async () => {
      try {
        return await work()
      } catch (error) {
        throw fromBull(error, operation)
      }
    })
  }

  #toError(error: unknown, operation: string): MultinodeError {
    return toRedisError(error, { address: this.#parts.connection.address, operation, outcome: 'unknown' })
  }

  /** What is left of the time of a call that takes several round trips; throws when it is over. */
  #countdown(timeoutMs: number, outcome: Outcome = 'unknown'): () => number {
    const { clock, connection } = this.#parts
    const untilMs = clock.monotonicMs() + timeoutMs
    return () => {
      const leftMs = Math.floor(untilMs - clock.monotonicMs())
      if (leftMs >= 1) return leftMs
      throw new MultinodeError(
        'TIMEOUT',
        `Redis at ${connection.address}: the call was not finished within ${timeoutMs} ms. What was done stays so; call again for the rest.`,
        { capability: 'queue', backend: 'redis', outcome },
      )
    }
  }
}

function toDeduplication({ key, ttlMs }: NonNullable<NewJob['dedupe']>): { id: string; ttl?: number } {
  return ttlMs === undefined ? { id: key } : { id: key, ttl: ttlMs }
}

function toReply({ record }: NewJob, id: string | undefined): AddReply {
  if (id === record.id) return { status: 'added', id: record.id }
  // In a pipeline, BullMQ takes what its script refuses with for an id.
  if (id === undefined || Number(id) < 0) {
    return { status: 'failed', error: refused('add', `its script answered ${id}`) }
  }
  return { status: 'duplicate', id }
}

function toDeadJob(job: Job<unknown, void, string>): DeadJob {
  const about = { attempts: job.attemptsMade, atMs: job.finishedOn ?? 0 }
  return { record: recordOf(job), failure: readFailure(job.failedReason ?? '', about) }
}

function recordOf(job: Job<unknown, void, string>): DeadJob['record'] {
  const { id = '', data, timestamp } = job
  return readJobData(id, data) ?? unreadableRecord(id, data, timestamp)
}

function chunked<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) =>
    all.slice(index * size, (index + 1) * size),
  )
}

function closedMeanwhile(): MultinodeError {
  return new MultinodeError('CLOSED', 'queue on redis: closed while a worker began.', {
    capability: 'queue',
    backend: 'redis',
    outcome: 'not-sent',
  })
}
