import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel'
import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import { unsupported } from '../errors/unsupported.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import {
  checkArray,
  checkChoice,
  checkFunction,
  checkKey,
  checkKnownOptions,
  checkMs,
} from '../runtime/check.ts'
import { pause } from '../runtime/clock.ts'
import { validated } from '../runtime/standard-schema.ts'
import { type AddContext, type AddOptions, newJob } from './add-options.ts'
import { DeadLetters, readPayload } from './dead-letters.ts'
import type { Job } from './job.ts'
import { OpenLine } from './open-line.ts'
import { type ProcessOptions, readProcessOptions } from './process-options.ts'
import type { AddReply, NewJob, QueueCounts, QueueDriver, QueueFeatures, StoredJob } from './queue-driver.ts'
import { QueueEmitter, queueEventNames, type QueueEvents, type QueueListener } from './queue-events.ts'
import type { QueueSettings } from './queue-options.ts'
import type { QueueStats } from './queue-stats.ts'
import { Worker } from './worker.ts'

/** `duplicate`: a job with its dedupe key was there already, and has this id. */
export interface AddResult {
  readonly status: 'added' | 'duplicate'
  readonly id: string
}

export type AddManyResult = AddResult | { readonly status: 'failed'; readonly error: MultinodeError }

export interface JobInfo {
  readonly id: string
  readonly state: StoredJob['state']
  /** As it was added, by whatever version of the app. */
  readonly payload: unknown
  readonly headers: Readonly<Record<string, string>>
  readonly attempt: number
  readonly attemptsMax: number
  readonly addedAtMs: number
  /** What its handler said last. */
  readonly progress: unknown
}

/**
 * `removed`: it will not run. `aborted`: it runs on this node, and its signal was aborted. `running`: it runs on another node, and goes on.
 */
export type CancelResult = 'removed' | 'aborted' | 'running' | 'not-found'

export interface QueueParts {
  readonly name: string
  readonly driver: QueueDriver
  readonly settings: QueueSettings
  readonly context: CapabilityContext
  readonly stats: QueueStats
  /** Throws when the cluster object was closed, or drains. */
  readonly checkOpen: (operation: string) => void
}

const drainPollMs = 100
const addChannel: TracingChannel = tracingChannel('multinode:queue.add')

/**
 * Jobs that one worker of the cluster runs, at least once. What `add` has resolved for is not lost; a job whose worker dies, or is cut off, runs again elsewhere, so that a
 * paused worker may overlap with the next one: pass `job.signal` on, and guard what must not happen twice with a lock's token.
 *
 * Every call settles within the cluster's `callTimeoutMs`, plus a tenth, whatever the backend does. Publishes the tracing channels `multinode:queue.add` and
 * `multinode:queue.process`, whose `headers` travel with the job.
 */
export class Queue<T = unknown> {
  readonly name: string
  /** The jobs that were given up. */
  readonly deadLetters: DeadLetters
  readonly #parts: QueueParts
  readonly #line: OpenLine
  readonly #adding: AddContext
  readonly #events: QueueEmitter
  readonly #workers = new Set<Worker>()
  #isPaused = false

  constructor(parts: QueueParts) {
    const { name, driver, settings, context } = parts
    this.name = name
    this.#parts = parts
    this.#line = new OpenLine(driver, { name, hasPriorities: settings.hasPriorities }, context)
    this.#adding = { queue: name, settings, features: driver.features, context }
    this.#events = new QueueEmitter(context.report)
    this.deadLetters = new DeadLetters(this.#line, () => parts.checkOpen('deadLetters'))
  }

  /** @internal */
  get settings(): QueueSettings {
    return this.#parts.settings
  }

  /** @internal How many jobs run on this node. */
  get running(): number {
    return [...this.#workers].reduce((sum, { running }) => sum + running, 0)
  }

  /**
   * Adds a job. Resolves when the backend has it. One round trip; repeated, with the same id, through short outages.
   *
   * @param payload what JSON can express
   * @throws `UNAVAILABLE` or `TIMEOUT` with `outcome`: `not-sent`, or `unknown` when it may be there all the same. `TOO_LARGE`, `INVALID_ARGUMENT`
   */
  async add(payload: T, options: AddOptions = {}): Promise<AddResult> {
    this.#parts.checkOpen('add')
    const job = await this.#toJob(payload, options)
    if (!addChannel.hasSubscribers) return this.#addOne(job)
    const { id, headers } = job.record
    return addChannel.tracePromise(() => this.#addOne(job), { queue: this.name, id, headers })
  }

  /**
   * Adds many jobs, and says of each what became of it, in order: one that is refused keeps none of the others back. Not atomic.
   */
  async addMany(
    items: readonly { readonly payload: T; readonly options?: AddOptions }[],
  ): Promise<AddManyResult[]> {
    this.#parts.checkOpen('addMany')
    checkArray('items', items)
    const results: AddManyResult[] = []
    const jobs: NewJob[] = []
    const places: number[] = []
    for (const [index, { payload, options = {} }] of items.entries()) {
      try {
        jobs.push(await this.#toJob(payload, options))
        places.push(index)
      } catch (error) {
        if (!isMultinodeError(error)) throw error
        results[index] = { status: 'failed', error }
      }
    }
    const replies = await this.#send(jobs)
    for (const [index, place] of places.entries()) results[place] = this.#toResult(replies[index])
    return results
  }

  /**
   * Runs jobs on this node, from when this has resolved on, until the worker is closed. A handler that resolves ends its job. One that rejects has it tried again after its
   * backoff, and after the last attempt makes it a dead letter; see {@link RetryLater} and {@link UnrecoverableJobError}.
   */
  async process(handler: (job: Job<T>) => unknown, options: ProcessOptions = {}): Promise<Worker> {
    this.#parts.checkOpen('process')
    const { driver, settings: queueSettings, context, stats } = this.#parts
    const settings = readProcessOptions(handler, options, driver.features)
    options.signal?.throwIfAborted()
    const onAbort = (): void => void worker.close()
    const worker = new Worker({
      queue: this.name,
      // Jobs of this queue have this type as far as its app says so, and its schema checks.
      handler: (job) => handler(job as Job<T>),
      settings,
      queueSettings,
      context,
      events: this.#events,
      stats,
      onClose: (each) => {
        this.#workers.delete(each)
        options.signal?.removeEventListener('abort', onAbort)
      },
    })
    const consumer = await this.#line.insist(
      'process',
      (line, timeoutMs) => line.consume(settings, worker, timeoutMs),
      () => true,
    )
    this.#workers.add(worker)
    options.signal?.addEventListener('abort', onAbort, { once: true })
    await worker.setPaused(this.#isPaused)
    worker.begin(consumer)
    return worker
  }

  /** How many jobs there are; `null` where the backend does not know. */
  counts(): Promise<QueueCounts> {
    this.#parts.checkOpen('counts')
    return this.#line.call('counts', (line, timeoutMs) => line.counts(timeoutMs))
  }

  /**
   * Takes no further jobs: on this node, or on all (`UNSUPPORTED` where the backend cannot). Those that run go on; jobs can still be added. A pause of the cluster
   * outlives this process.
   */
  async pause(scope: 'node' | 'cluster'): Promise<void> {
    await this.#setPaused(scope, true)
  }

  /** Undoes a {@link pause} of the same scope. */
  async resume(scope: 'node' | 'cluster'): Promise<void> {
    await this.#setPaused(scope, false)
  }

  /**
   * Waits until no job waits or runs anywhere; delayed ones do not count. Stops nobody from adding more.
   *
   * @param options timeoutMs: default 30,000
   * @returns whether that was so in time
   * @throws `UNSUPPORTED` where the backend does not know
   */
  async drain(options: { readonly timeoutMs?: number } = {}): Promise<boolean> {
    checkKnownOptions('drain', options, ['timeoutMs'])
    const timeoutMs = checkMs('timeoutMs', options.timeoutMs ?? 30_000, { min: 0 })
    const { context } = this.#parts
    if (!this.#features.exactCounts) throw unsupported(context, 'exact counts')
    const untilMs = context.clock.monotonicMs() + timeoutMs
    for (;;) {
      const { waiting, active } = await this.counts()
      if (waiting === 0 && active === 0) return true
      if (context.clock.monotonicMs() + drainPollMs > untilMs) return false
      await pause(context.clock, drainPollMs)
    }
  }

  /** Deletes what waits or is delayed, and neither what runs nor dead letters. @returns how many; `null` where the backend does not know */
  async purge(): Promise<number | null> {
    this.#parts.checkOpen('purge')
    return this.#line.call('purge', (line, timeoutMs) => line.purge(timeoutMs))
  }

  /** @throws `UNSUPPORTED` where the backend cannot look jobs up */
  async get(id: string): Promise<JobInfo | undefined> {
    this.#parts.checkOpen('get')
    checkKey('id', id)
    this.#checkFeature('lookup')
    const found = await this.#line.call('get', async (line, timeoutMs) => line.get?.(id, timeoutMs))
    if (found === undefined) return undefined
    const { record, state, attempt, progress } = found
    const { headers, addedAtMs, attemptsMax } = record
    return {
      id,
      state,
      payload: readPayload(record.payload),
      headers,
      attempt,
      attemptsMax,
      addedAtMs,
      progress,
    }
  }

  /** Takes a job back. @throws `UNSUPPORTED` where the backend cannot look jobs up */
  async cancel(id: string): Promise<CancelResult> {
    this.#parts.checkOpen('cancel')
    checkKey('id', id)
    this.#checkFeature('lookup')
    for (const worker of this.#workers) if (worker.cancel(id)) return 'aborted'
    return this.#line.call(
      'cancel',
      async (line, timeoutMs) => (await line.remove?.(id, timeoutMs)) ?? 'not-found',
    )
  }

  /** What happens to jobs **on this node**. A listener that throws or rejects is reported. */
  on<E extends keyof QueueEvents>(event: E, listener: QueueListener<E>): this {
    checkChoice('event', event, queueEventNames)
    checkFunction('listener', listener)
    this.#events.on(event, listener)
    return this
  }

  off<E extends keyof QueueEvents>(event: E, listener: QueueListener<E>): this {
    checkChoice('event', event, queueEventNames)
    this.#events.off(event, listener)
    return this
  }

  /** @internal Takes no further jobs. @returns how many still run */
  async stop(deadlineMs: number): Promise<number> {
    await Promise.all([...this.#workers].map((worker) => worker.drain(deadlineMs)))
    return this.running
  }

  /** @internal Never rejects. */
  async close(): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.close({ graceMs: 0 })))
  }

  get #features(): QueueFeatures {
    return this.#parts.driver.features
  }

  #checkFeature(feature: 'lookup' | 'clusterPause'): void {
    if (!this.#features[feature]) throw unsupported(this.#parts.context, feature)
  }

  async #setPaused(scope: 'node' | 'cluster', isPaused: boolean): Promise<void> {
    this.#parts.checkOpen(isPaused ? 'pause' : 'resume')
    checkChoice('scope', scope, ['node', 'cluster'])
    if (scope === 'cluster') {
      this.#checkFeature('clusterPause')
      await this.#line.call('pause', async (line, timeoutMs) => line.pauseAll?.(isPaused, timeoutMs))
      return
    }
    this.#isPaused = isPaused
    await Promise.all([...this.#workers].map((worker) => worker.setPaused(isPaused)))
  }

  async #toJob(payload: T, options: AddOptions): Promise<NewJob> {
    const { schema } = this.#parts.settings
    const checked = schema === undefined ? payload : await validated(schema, payload, this.name, 'queue')
    return newJob(checked, options, this.#adding)
  }

  async #addOne(job: NewJob): Promise<AddResult> {
    const result = this.#toResult((await this.#send([job]))[0])
    if (result.status === 'failed') throw result.error
    return result
  }

  /** One reply for each. Those that failed for now are tried again until `callTimeoutMs`. */
  async #send(jobs: readonly NewJob[]): Promise<AddReply[]> {
    const replies: AddReply[] = []
    let open = jobs.map((job, place) => ({ job, place }))
    const attempt = async (line: { add: SendJobs }, timeoutMs: number): Promise<void> => {
      const got = await line.add(
        open.map(({ job }) => job),
        timeoutMs,
      )
      for (const [index, { place }] of open.entries()) replies[place] = got[index] ?? missing()
      open = open.filter(({ place }) => isWorthRetrying(replies[place]))
      const again = replies[open[0]?.place ?? -1]
      if (again?.status === 'failed') throw again.error
    }
    try {
      if (open.length > 0) await this.#line.insist('add', attempt, () => true)
    } catch (error) {
      if (!isMultinodeError(error)) throw error
      for (const { place } of open) replies[place] ??= { status: 'failed', error }
    }
    return replies
  }

  #toResult(reply: AddReply = missing()): AddManyResult {
    if (reply.status !== 'failed') this.#parts.stats.added += 1
    return reply
  }
}

type SendJobs = (jobs: readonly NewJob[], timeoutMs: number) => Promise<readonly AddReply[]>

function isWorthRetrying(reply: AddReply | undefined): boolean {
  return reply?.status === 'failed' && reply.error.retryable
}

function missing(): AddReply {
  return {
    status: 'failed',
    error: new MultinodeError('INTERNAL', 'The adapter gave no reply for a job.', {
      capability: 'queue',
      outcome: 'unknown',
    }),
  }
}
