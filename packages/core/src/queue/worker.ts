import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel'
import { MultinodeError } from '../errors/multinode-error.ts'
import { unsupported } from '../errors/unsupported.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { checkBoolean, checkKnownOptions, checkMs } from '../runtime/check.ts'
import { pause, type Timer } from '../runtime/clock.ts'
import { DriverCalls } from '../runtime/driver-calls.ts'
import { type Schema, validated } from '../runtime/standard-schema.ts'
import { toJson } from './add-options.ts'
import { Attempt, type AttemptEnd, timedOut } from './attempt.ts'
import { delayAfter } from './backoff.ts'
import { readPayload } from './dead-letters.ts'
import { failureOf } from './failure.ts'
import { type AbortReason, Job } from './job.ts'
import type { ProcessSettings } from './process-options.ts'
import type { Consumer, DeadReason, Delivery, JobReceiver, Settlement } from './queue-driver.ts'
import type { QueueEmitter } from './queue-events.ts'
import type { QueueSettings } from './queue-options.ts'
import type { QueueStats } from './queue-stats.ts'
import { isRetryLater, isUnrecoverable } from './steering.ts'

/** Resolves when the job is done, and rejects when it has to be tried again. Must bear to see a job twice. */
export type JobHandler<T = unknown> = (job: Job<T>) => unknown

/** How long handlers have between the abort of their signals and the end of a close. */
const lastMs = 500
/** How often `idle` is asked while no job comes, and how soon a driver is told again what it did not do. */
const followMs = 250

const processChannel: TracingChannel = tracingChannel('multinode:queue.process')

export interface WorkerParts {
  readonly queue: string
  readonly handler: JobHandler
  readonly settings: ProcessSettings
  readonly queueSettings: QueueSettings
  readonly context: CapabilityContext
  readonly events: QueueEmitter
  readonly stats: QueueStats
  readonly isPaused: boolean
  readonly onClose: (worker: Worker) => void
}

/** A payload that its schema refuses. */
class InvalidPayload extends Error {}

/** Runs the jobs that a driver takes for this node: decides what becomes of each, and when none is taken. */
export class Worker implements JobReceiver, AsyncDisposable {
  readonly queue: string
  readonly #parts: WorkerParts
  /** A job whose lease was lost may come back while its first handler still runs: then two of them have its id. */
  readonly #attempts = new Set<Attempt>()
  readonly #calls: DriverCalls
  readonly #waitingForEnd = new Set<() => void>()
  readonly #closed: Promise<void>
  #tellClosed: () => void = () => {}
  #consumer: Consumer | undefined
  #isPaused: boolean
  /** `undefined` from when it is asked for a change until it has made it: a call that failed may have done half of it. */
  #isTaking: boolean | undefined = true
  #isStopped = false
  #isEnding = false
  #isSteering = false
  #steering: Promise<void> = Promise.resolve()
  #steerTimer: Timer | undefined

  constructor(parts: WorkerParts) {
    this.queue = parts.queue
    this.#parts = parts
    this.#calls = new DriverCalls(parts.context)
    this.#isPaused = parts.isPaused
    this.#closed = new Promise((resolve) => {
      this.#tellClosed = resolve
    })
  }

  /** How many jobs run. */
  get running(): number {
    return this.#attempts.size
  }

  /** @internal Whether it will never take a job again. */
  get isStopped(): boolean {
    return this.#isStopped
  }

  /** @internal Called once, with where its jobs come from. */
  async begin(consumer: Consumer): Promise<void> {
    this.#consumer = consumer
    if (this.#isEnding) await this.#closeConsumer()
    else void this.#steer()
  }

  /** @internal This node only. */
  setPaused(isPaused: boolean): Promise<void> {
    this.#isPaused = isPaused
    return this.#steer()
  }

  /** @internal @returns whether it runs here, and will not run again */
  cancel(id: string): boolean {
    const attempts = this.#attemptsAt(id)
    for (const attempt of attempts) attempt.abort('cancelled')
    return attempts.length > 0
  }

  /**
   * Takes no further job, and waits for those that run, for `graceMs` (default 10,000); then aborts their signals, and gives them half a second more. What still
   * runs then is run again elsewhere. Called again, the earlier end counts for all. Never rejects.
   */
  close(options: { readonly graceMs?: number } = {}): Promise<void> {
    checkKnownOptions('close', options, ['graceMs'])
    const graceMs = checkMs('graceMs', options.graceMs ?? 10_000, { min: 0 })
    void this.#close(graceMs)
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal Takes no further job, and waits for those that run. @returns whether all have ended by then */
  async drain(deadlineMs: number): Promise<boolean> {
    this.#isStopped = true
    this.#steerTimer?.cancel()
    void this.#steer()
    if (this.#attempts.size === 0 || this.#isEnding) return this.#attempts.size === 0
    const abort = new AbortController()
    const end = (): void => abort.abort()
    this.#waitingForEnd.add(end)
    await pause(this.#parts.context.clock, deadlineMs, abort.signal)
    this.#waitingForEnd.delete(end)
    return this.#attempts.size === 0
  }

  /** @internal */
  async run(delivery: Delivery): Promise<Settlement> {
    if (!this.#isWanted()) {
      void this.#steer()
      return { type: 'return' }
    }
    const { events, stats, context } = this.#parts
    const { record } = delivery
    if (isExpired(delivery, context.clock.wallMs())) {
      stats.expired += 1
      events.emit('expired', { id: record.id })
      return { type: 'done' }
    }
    let payload: unknown
    try {
      payload = record.payload === '' ? undefined : JSON.parse(record.payload)
    } catch (error) {
      return this.#die(delivery, 'invalid', error)
    }
    const attempt = this.#begin(delivery, payload)
    const startedMs = context.clock.monotonicMs()
    const end = await attempt.run((job) => this.#handle(job, attempt))
    this.#attempts.delete(attempt)
    if (this.#attempts.size === 0) this.#tellEnd()
    if (this.#parts.settings.idle !== undefined) void this.#steer()
    return this.#settle(delivery, attempt, end, context.clock.monotonicMs() - startedMs)
  }

  /** @internal */
  lost(id: string): void {
    for (const attempt of this.#attemptsAt(id)) {
      this.#parts.stats.lockLost += 1
      this.#parts.events.emit('lock-lost', { id })
      attempt.abort('lock-lost')
    }
  }

  /** @internal */
  settleIgnored(id: string): void {
    this.#parts.stats.settleIgnored += 1
    this.#parts.events.emit('settle-ignored', { id })
  }

  /** @internal */
  stalled(id: string): void {
    this.#parts.events.emit('stalled', { id })
  }

  #begin(delivery: Delivery, payload: unknown): Attempt {
    const { settings, context } = this.#parts
    const { callTimeoutMs } = context
    const job = new Job(this.queue, payload, delivery, async (value) => {
      if (delivery.progress === undefined) throw unsupported(context, 'progress')
      // What a backend would give back.
      const stored = readPayload(toJson(value))
      await this.#calls.call('progress', callTimeoutMs, async () =>
        delivery.progress?.(stored, callTimeoutMs),
      )
    })
    const { handlerGraceMs } = settings
    const { timeoutMs } = delivery.record
    const attempt = new Attempt(job, { timeoutMs, handlerGraceMs, clock: context.clock })
    this.#attempts.add(attempt)
    return attempt
  }

  /** The schema is a part of the attempt: it may take its time, and the job may be lost meanwhile. */
  #handle(job: Job, attempt: Attempt): unknown {
    const { schema } = this.#parts.queueSettings
    return schema === undefined ? this.#execute(job) : this.#executeChecked(job, attempt, schema)
  }

  async #executeChecked(job: Job, attempt: Attempt, schema: Schema<unknown>): Promise<void> {
    try {
      job.read(await validated(schema, job.payload, this.queue, 'queue'))
    } catch (error) {
      throw new InvalidPayload('', { cause: error })
    }
    if (attempt.reason !== undefined) job.signal.throwIfAborted()
    await this.#execute(job)
  }

  #execute(job: Job): unknown {
    const { handler, events } = this.#parts
    const { id, queue, attempt, headers } = job
    events.emit('active', { id, attempt })
    if (!processChannel.hasSubscribers) return handler(job)
    return processChannel.tracePromise(async () => handler(job), { queue, id, attempt, headers })
  }

  #settle(delivery: Delivery, attempt: Attempt, end: AttemptEnd, durationMs: number): Settlement {
    const { id } = delivery.record
    const { stats, events } = this.#parts
    // Somebody else has the job: what became of it here counts for nothing.
    if (attempt.reason === 'lock-lost') {
      this.settleIgnored(id)
      return { type: 'return' }
    }
    if (end.type === 'completed') {
      stats.completed += 1
      events.emit('completed', { id, attempt: delivery.attempt, durationMs })
      return { type: 'done' }
    }
    return this.#fail(delivery, attempt, end.type === 'failed' ? end.error : undefined)
  }

  #fail(delivery: Delivery, { reason, job }: Attempt, thrown: unknown): Settlement {
    const { record, attempt } = delivery
    if (reason === 'cancelled') return this.#giveUp(delivery)
    if (thrown instanceof InvalidPayload) return this.#die(delivery, 'invalid', thrown.cause)
    if (reason === 'shutdown') return { type: 'retry', delayMs: 0, isAttempt: false }
    if (isRetryLater(thrown)) return this.#again(delivery, thrown, thrown.delayMs, false)
    const error = reason === 'timeout' ? timedOut(job, record.timeoutMs, thrown) : thrown
    if (isUnrecoverable(thrown)) return this.#die(delivery, 'unrecoverable', thrown)
    if (attempt >= record.attemptsMax) return this.#die(delivery, 'failed', error)
    return this.#again(delivery, error, delayAfter(attempt, record.backoff), true)
  }

  #again({ record, attempt }: Delivery, error: unknown, delayMs: number, isAttempt: boolean): Settlement {
    const { events, stats } = this.#parts
    const { id } = record
    stats.retried += 1
    if (isAttempt) {
      stats.failed += 1
      events.emit('failed', { id, attempt, error, willRetry: true })
    }
    events.emit('retry', { id, attempt, delayMs })
    return { type: 'retry', delayMs, isAttempt }
  }

  #die({ record, attempt }: Delivery, reason: DeadReason, error: unknown): Settlement {
    const { context, events, stats } = this.#parts
    const { id } = record
    const { nodeId } = context.node
    stats.failed += 1
    stats.dead += 1
    events.emit('failed', { id, attempt, error, willRetry: false })
    events.emit('dead', { id, attempt, reason, error })
    const about = { reason, nodeId, attempts: attempt, atMs: context.clock.wallMs() }
    return { type: 'dead', failure: failureOf(error, about) }
  }

  /** Taken back while it ran: neither tried again nor kept. */
  #giveUp({ record, attempt }: Delivery): Settlement {
    const { events, stats } = this.#parts
    const { id } = record
    const error = new MultinodeError('ABORTED', `A job of ${this.queue} was cancelled while it ran.`, {
      capability: 'queue',
      details: { id },
    })
    stats.failed += 1
    events.emit('failed', { id, attempt, error, willRetry: false })
    return { type: 'done' }
  }

  #isWanted(): boolean {
    if (this.#isStopped || this.#isPaused) return false
    const { idle } = this.#parts.settings
    if (idle === undefined) return true
    try {
      return checkBoolean('what idle returns', idle())
    } catch (error) {
      this.#parts.context.report(error)
      return false
    }
  }

  /** Brings the driver to what is wanted now; one change at a time. */
  #steer(): Promise<void> {
    // By a flag, because a wish between the last look and the end of the promise would be overlooked.
    if (this.#consumer !== undefined && !this.#isSteering && !this.#isEnding) {
      this.#isSteering = true
      this.#steering = this.#followWishes(this.#consumer)
    }
    return this.#steering
  }

  async #followWishes(consumer: Consumer): Promise<void> {
    const { context, settings } = this.#parts
    let hasFailed = false
    try {
      for (let isWanted = this.#isWanted(); isWanted !== this.#isTaking; isWanted = this.#isWanted()) {
        const verb = isWanted ? 'resume' : 'pause'
        this.#isTaking = undefined
        await this.#calls.call(verb, context.callTimeoutMs, () => consumer[verb]())
        this.#isTaking = isWanted
      }
    } catch (error) {
      hasFailed = true
      // A close overtakes it, and does the same.
      if (!this.#isEnding) context.report(error)
    }
    this.#isSteering = false
    if (hasFailed || (settings.idle !== undefined && !this.#isStopped)) this.#steerLater()
  }

  #steerLater(): void {
    this.#steerTimer?.cancel()
    if (this.#isEnding) return
    this.#steerTimer = this.#parts.context.clock.setTimer(() => void this.#steer(), followMs, 'background')
  }

  async #close(graceMs: number): Promise<void> {
    if (!(await this.drain(graceMs))) {
      this.#abortAll('shutdown')
      await this.drain(lastMs)
    }
    if (this.#isEnding) return
    this.#isEnding = true
    this.#steerTimer?.cancel()
    this.#tellEnd()
    await this.#closeConsumer()
    // Their timers would keep the process alive for as long as handlers may go on.
    for (const attempt of this.#attempts) attempt.abandon()
    this.#parts.onClose(this)
    this.#tellClosed()
  }

  async #closeConsumer(): Promise<void> {
    const { context } = this.#parts
    const consumer = this.#consumer
    if (consumer === undefined) return
    try {
      await this.#calls.call('close', context.callTimeoutMs, () => consumer.close())
    } catch (error) {
      context.report(error)
    }
  }

  #tellEnd(): void {
    for (const end of this.#waitingForEnd) end()
  }

  /** Those that go on. */
  #attemptsAt(id: string): Attempt[] {
    return [...this.#attempts].filter(({ job, reason }) => job.id === id && reason === undefined)
  }

  #abortAll(reason: AbortReason): void {
    for (const attempt of this.#attempts) attempt.abort(reason)
  }
}

/** Not at its first attempt when that was begun before: in time, before a crash or a redrive. */
function isExpired({ record, attempt, redelivered }: Delivery, nowMs: number): boolean {
  if (record.expiresAtMs === undefined || nowMs <= record.expiresAtMs) return false
  return attempt > 1 || !redelivered
}
