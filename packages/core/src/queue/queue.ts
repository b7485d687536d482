import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel'
import { setImmediate as nextTurn } from 'node:timers/promises'
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
  checkObject,
} from '../runtime/check.ts'
import { pause } from '../runtime/clock.ts'
import { type Schema, validated } from '../runtime/standard-schema.ts'
import { type AddContext, type AddOptions, newJob, withHeaders } from './add-options.ts'
import { AddReplies, missing } from './add-replies.ts'
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

/** `failed`: this job alone; `error.outcome` says whether it may be there all the same. */
export type AddManyResult = AddResult | { readonly status: 'failed'; readonly error: MultinodeError }

/** A job as the backend has it, at the moment of the answer. */
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
 * `removed`: it will not run. `aborted`: it runs on this node, its signal was aborted, and whatever its handler does it is not tried again. `running`: it runs on another node, or on this one
 * after its signal was aborted for another reason; it goes on, and may be tried again.
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
/** How many of `addMany` are made ready before others get a turn of the event loop. */
const itemsATurn = 500
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
    const { schema } = this.#parts.settings
    const job =
      schema === undefined ? newJob(payload, options, this.#adding) : await this.#toJob(payload, options)
    return addChannel.hasSubscribers ? this.#traced(job, (each) => this.#addOne(each)) : this.#addOne(job)
  }

  /**
   * Adds many jobs, and says of each what became of it, in order: one that is refused keeps none of the others back. Not atomic. Rejects only when there is nothing to
   * say about any: `CLOSED`, or no array.
   */
  async addMany(
    items: readonly { readonly payload: T; readonly options?: AddOptions }[],
  ): Promise<AddManyResult[]> {
    this.#parts.checkOpen('addMany')
    checkArray('items', items)
    const results: AddManyResult[] = []
    const jobs: NewJob[] = []
    const places: number[] = []
    for (const [index, item] of items.entries()) {
      if (index % itemsATurn === itemsATurn - 1) await nextTurn()
      try {
        checkObject(`items[${index}]`, item)
        jobs.push(await this.#toJob(item.payload, item.options ?? {}))
        places.push(index)
      } catch (error) {
        if (!isMultinodeError(error)) throw error
        results[index] = { status: 'failed', error }
      }
    }
    const replies = await (addChannel.hasSubscribers ? this.#sendTraced(jobs) : this.#send(jobs))
    for (const [index, place] of places.entries()) results[place] = this.#toResult(replies[index])
    return results
  }

  /**
   * Runs jobs on this node, from when this has resolved on, until the worker is closed. A handler that resolves ends its job. One that rejects has it tried again after its
   * backoff, and after the last attempt makes it a dead letter; see {@link RetryLater} and {@link UnrecoverableJobError}.
   *
   * @throws `UNAVAILABLE` or `TIMEOUT` when the backend is away for all of `callTimeoutMs`; nothing is left open then. `ABORTED` by `signal`, `CLOSED`
   */
  async process(handler: (job: Job<T>) => unknown, options: ProcessOptions = {}): Promise<Worker> {
    this.#parts.checkOpen('process')
    const { driver, settings: queueSettings, context, stats } = this.#parts
    const settings = readProcessOptions(handler, options, driver.features)
    if (options.signal?.aborted === true) throw ended(this.name, options.signal)
    const { signal } = options
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
      isPaused: this.#isPaused,
      onClose: (each) => {
        this.#workers.delete(each)
        signal?.removeEventListener('abort', onAbort)
      },
    })
    // Known from the start on: what ends the queue meanwhile ends the worker too.
    this.#workers.add(worker)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await worker.begin(await this.#line.consume(settings, worker, () => !worker.isStopped))
    } catch (error) {
      await worker.close({ graceMs: 0 })
      throw error
    }
    if (!worker.isStopped) return worker
    await worker.close({ graceMs: 0 })
    this.#parts.checkOpen('process')
    throw ended(this.name, signal)
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

  /** The job of that id; `undefined` when it is done, or never was. @throws `UNSUPPORTED` where the backend cannot look jobs up */
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

  /** Takes a listener off again. */
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
    const checked = schema === undefined ? payload : await this.#validated(schema, payload)
    return newJob(checked, options, this.#adding)
  }

  async #validated(schema: Schema<unknown>, payload: T): Promise<unknown> {
    try {
      return await validated(schema, payload, this.name, 'queue')
    } catch (error) {
      if (isMultinodeError(error)) throw error
      throw new MultinodeError('INVALID_ARGUMENT', `The schema of ${this.name} failed on a payload.`, {
        capability: 'queue',
        details: { name: this.name },
        cause: error,
      })
    }
  }

  async #addOne(job: NewJob): Promise<AddResult> {
    return resultOf(this.#toResult((await this.#send([job]))[0]))
  }

  /** With what whoever traces puts into its headers. */
  #traced(job: NewJob, work: (job: NewJob) => Promise<AddResult>): Promise<AddResult> {
    const { id } = job.record
    const headers = { ...job.record.headers }
    return addChannel.tracePromise(async () => work(withHeaders(job, headers, this.#adding)), {
      queue: this.name,
      id,
      headers,
    })
  }

  /** One request for all, and a trace for each. */
  async #sendTraced(jobs: readonly NewJob[]): Promise<AddReply[]> {
    const traced: NewJob[] = []
    // After all traces have begun.
    const sending = Promise.resolve().then(() => this.#send(traced))
    const results = jobs.map((job) =>
      this.#traced(job, async (each) => {
        const place = traced.push(each) - 1
        return resultOf((await sending)[place])
      }),
    )
    return Promise.all(results.map(replyOf))
  }

  /** One reply for each. Those that failed for now are tried again until `callTimeoutMs`. */
  async #send(jobs: readonly NewJob[]): Promise<AddReply[]> {
    if (jobs.length === 0) return []
    const replies = new AddReplies(jobs)
    try {
      await this.#line.insist(
        'add',
        (line, timeoutMs) => replies.request((open) => line.add(open, timeoutMs)),
        () => true,
      )
    } catch (error) {
      if (!isMultinodeError(error)) throw error
      return replies.all(error)
    }
    return replies.all()
  }

  #toResult(reply: AddReply = missing()): AddManyResult {
    if (reply.status !== 'failed') this.#parts.stats.added += 1
    return reply
  }
}

function resultOf(reply: AddReply = missing()): AddResult {
  if (reply.status === 'failed') throw reply.error
  return reply
}

async function replyOf(result: Promise<AddResult>): Promise<AddReply> {
  try {
    return await result
  } catch (error) {
    if (isMultinodeError(error)) return { status: 'failed', error }
    throw error
  }
}

function ended(queue: string, signal: AbortSignal | undefined): MultinodeError {
  return new MultinodeError('ABORTED', `The worker of ${queue} was ended by its signal before it began.`, {
    capability: 'queue',
    cause: signal?.reason,
  })
}
