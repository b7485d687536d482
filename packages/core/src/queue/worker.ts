import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel'
import { MultinodeError } from '../errors/multinode-error.ts'
import { unsupported } from '../errors/unsupported.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { checkKnownOptions, checkMs } from '../runtime/check.ts'
import { pause, type Timer } from '../runtime/clock.ts'
import { validated } from '../runtime/standard-schema.ts'
import { Attempt, type AttemptEnd, timedOut } from './attempt.ts'
import { delayAfter } from './backoff.ts'
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
const idlePollMs = 250

const processChannel: TracingChannel = tracingChannel('multinode:queue.process')

export interface WorkerParts {
  readonly queue: string
  readonly handler: JobHandler
  readonly settings: ProcessSettings
  readonly queueSettings: QueueSettings
  readonly context: CapabilityContext
  readonly events: QueueEmitter
  readonly stats: QueueStats
  readonly onClose: (worker: Worker) => void
}

/** Runs the jobs that a driver takes for this node: decides what becomes of each, and when none is taken. */
export class Worker implements JobReceiver, AsyncDisposable {
  readonly queue: string
  readonly #parts: WorkerParts
  readonly #attempts = new Map<string, Attempt>()
  #consumer: Consumer | undefined
  #isPaused = false
  #isTaking = true
  #isStopped = false
  #steering: Promise<void> | undefined
  #idleTimer: Timer | undefined
  #onFinished: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor(parts: WorkerParts) {
    this.queue = parts.queue
    this.#parts = parts
  }

  /** How many jobs run. */
  get running(): number {
    return this.#attempts.size
  }

  /** @internal Called once, with where its jobs come from. */
  begin(consumer: Consumer): void {
    this.#consumer = consumer
    if (this.#parts.settings.idle !== undefined) this.#pollIdle()
    void this.#steer()
  }

  /** @internal This node only. */
  setPaused(isPaused: boolean): Promise<void> {
    this.#isPaused = isPaused
    return this.#steer()
  }

  /** @internal */
  cancel(id: string): boolean {
    const attempt = this.#attempts.get(id)
    attempt?.abort('cancelled')
    return attempt !== undefined
  }

  /**
   * Takes no further job, and waits for those that run, for `graceMs` (default 10,000); then aborts their signals, and gives them half a second more. What still
   * runs then is run again elsewhere. Idempotent, never rejects.
   */
  close(options: { readonly graceMs?: number } = {}): Promise<void> {
    checkKnownOptions('close', options, ['graceMs'])
    const graceMs = checkMs('graceMs', options.graceMs ?? 10_000, { min: 0 })
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal Takes no further job, and waits for those that run. @returns whether all have ended by then */
  async drain(deadlineMs: number): Promise<boolean> {
    this.#isStopped = true
    this.#idleTimer?.cancel()
    void this.#steer()
    if (this.#attempts.size === 0) return true
    const abort = new AbortController()
    const finished = new Promise<void>((resolve) => {
      this.#onFinished = resolve
    })
    await Promise.race([finished, pause(this.#parts.context.clock, deadlineMs, abort.signal)])
    abort.abort()
    return this.#attempts.size === 0
  }

  async run(delivery: Delivery): Promise<Settlement> {
    if (!this.#isWanted()) return { type: 'return' }
    const { events, stats, queueSettings, context } = this.#parts
    const { record } = delivery
    if (record.expiresAtMs !== undefined && context.clock.wallMs() > record.expiresAtMs) {
      stats.expired += 1
      events.emit('expired', { id: record.id })
      return { type: 'done' }
    }
    let payload: unknown
    try {
      payload = record.payload === '' ? undefined : JSON.parse(record.payload)
      if (queueSettings.schema !== undefined)
        payload = await validated(queueSettings.schema, payload, this.queue, 'queue')
    } catch (error) {
      return this.#die(delivery, 'invalid', error)
    }
    const attempt = this.#begin(delivery, payload)
    const startedMs = context.clock.monotonicMs()
    const end = await this.#execute(attempt)
    this.#attempts.delete(record.id)
    if (this.#attempts.size === 0) this.#onFinished?.()
    if (this.#parts.settings.idle !== undefined) void this.#steer()
    return this.#settle(delivery, attempt, end, context.clock.monotonicMs() - startedMs)
  }

  lost(id: string): void {
    const attempt = this.#attempts.get(id)
    if (attempt === undefined) return
    this.#parts.stats.lockLost += 1
    this.#parts.events.emit('lock-lost', { id })
    attempt.abort('lock-lost')
  }

  settleIgnored(id: string): void {
    this.#parts.stats.settleIgnored += 1
    this.#parts.events.emit('settle-ignored', { id })
  }

  stalled(id: string): void {
    this.#parts.events.emit('stalled', { id })
  }

  #begin(delivery: Delivery, payload: unknown): Attempt {
    const { record, attempt } = delivery
    const { settings, context, events } = this.#parts
    const job = new Job(this.queue, payload, delivery, (value) => {
      if (delivery.progress === undefined) throw unsupported(context, 'progress')
      return delivery.progress(value, context.callTimeoutMs)
    })
    const { handlerGraceMs } = settings
    const each = new Attempt(job, { timeoutMs: record.timeoutMs, handlerGraceMs, clock: context.clock })
    this.#attempts.set(record.id, each)
    events.emit('active', { id: record.id, attempt })
    return each
  }

  #execute(attempt: Attempt): Promise<AttemptEnd> {
    const { handler } = this.#parts
    if (!processChannel.hasSubscribers) return attempt.run(handler)
    const { id, queue, headers } = attempt.job
    return attempt.run((job) =>
      processChannel.tracePromise(async () => handler(job), { queue, id, attempt: job.attempt, headers }),
    )
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
      return idle()
    } catch (error) {
      this.#parts.context.report(error)
      return false
    }
  }

  /** Brings the driver to what is wanted now; one change at a time. */
  #steer(): Promise<void> {
    this.#steering ??= this.#followWishes().finally(() => {
      this.#steering = undefined
    })
    return this.#steering
  }

  async #followWishes(): Promise<void> {
    const consumer = this.#consumer
    if (consumer === undefined) return
    for (let isWanted = this.#isWanted(); isWanted !== this.#isTaking; isWanted = this.#isWanted()) {
      this.#isTaking = isWanted
      try {
        await (isWanted ? consumer.resume() : consumer.pause())
      } catch (error) {
        this.#parts.context.report(error)
      }
    }
  }

  #pollIdle(): void {
    this.#idleTimer = this.#parts.context.clock.setTimer(
      () => {
        if (this.#isStopped) return
        void this.#steer()
        this.#pollIdle()
      },
      idlePollMs,
      'background',
    )
  }

  async #close(graceMs: number): Promise<void> {
    if (!(await this.drain(graceMs))) {
      this.#abortAll('shutdown')
      await this.drain(lastMs)
    }
    await this.#consumer?.close()
    this.#parts.onClose(this)
  }

  #abortAll(reason: AbortReason): void {
    for (const attempt of this.#attempts.values()) attempt.abort(reason)
  }
}
