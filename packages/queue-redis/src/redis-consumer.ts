import { type RedisConnection, toRedisError } from '@multinode/connection-redis'
import {
  type Clock,
  type Consumer,
  type ConsumeOptions,
  type Delivery,
  type Failure,
  type JobReceiver,
  pause,
  type Settlement,
  type Timer,
  withDeadline,
} from '@multinode/core'
import { type Job, UnrecoverableError, WaitingError } from 'bullmq'
import { backendOn, bullName, bullOptions } from './bull-backend.ts'
import { isRefusal, RetryJob } from './bull-errors.ts'
import { BullWorker } from './bull-worker.ts'
import { readJobData } from './job-data.ts'
import { type Held, Leases } from './leases.ts'

/** How long a worker without jobs blocks before it asks again. */
const drainDelayMs = 1_000
/** So long it gets no answer only when BullMQ's loop is stuck. */
const stuckMs = 3 * (drainDelayMs + 1_000)
/** How long what was decided may take to reach the server when the consumer closes. */
const flushMs = 200
/** How soon a settlement is sent again that the server refused. */
const againMs = 250
/** How long a job that was not wanted keeps its slot: a worker that is about to pause must not take it in circles. */
const returnPauseMs = 20
/** When a job is looked at again that this node lost and whose handler still runs here. */
const stillRunsMs = 1_000

export interface ConsumerParts {
  /** Of whose kind it opens its own. */
  readonly connection: RedisConnection
  readonly prefix: string
  readonly nodeId: string
  readonly clock: Clock
  readonly callTimeoutMs: number
  readonly report: (error: unknown) => void
  readonly options: ConsumeOptions
  readonly receiver: JobReceiver
  /** Whether any job waits or is delayed. */
  readonly hasJobs: () => Promise<boolean>
  readonly progress: (id: string, value: unknown, timeoutMs: number) => Promise<void>
  readonly onClose: () => void
}

type Work = 'taking jobs' | 'settling a job'

/** A worker of BullMQ with the two connections that it uses. */
interface Engine {
  readonly worker: BullWorker
  readonly connections: readonly RedisConnection[]
}

/** Takes jobs for one worker of core, keeps their leases, and carries out what becomes of them. */
export class RedisConsumer implements Consumer {
  readonly #parts: ConsumerParts
  readonly #leases: Leases
  readonly #opening = new AbortController()
  #engine: Engine | undefined
  /** Those that were stuck, until the jobs that they have are done. */
  readonly #retired = new Set<Engine>()
  #timer: Timer | undefined
  #answeredAtMs: number
  /** What was told last, of each kind of work that does not succeed. */
  readonly #troubles = new Map<Work, string>()
  #isPaused = false
  #isReplacing = false
  #closing: Promise<void> | undefined

  constructor(parts: ConsumerParts) {
    this.#parts = parts
    this.#leases = new Leases(parts.clock, parts.options.leaseMs)
    this.#answeredAtMs = parts.clock.monotonicMs()
  }

  async start(timeoutMs: number): Promise<void> {
    this.#engine = await this.#makeEngine(timeoutMs)
    void this.#engine.worker.run()
    this.#watch()
  }

  async pause(): Promise<void> {
    this.#isPaused = true
    await this.#engine?.worker.pause(true)
  }

  async resume(): Promise<void> {
    this.#isPaused = false
    this.#answeredAtMs = this.#parts.clock.monotonicMs()
    await this.#engine?.worker.resume()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { clock, onClose } = this.#parts
    this.#opening.abort()
    this.#timer?.cancel()
    await this.pause()
    const untilMs = clock.monotonicMs() + flushMs
    while (this.#hasUnsent() && clock.monotonicMs() < untilMs) await pause(clock, 5)
    await Promise.all(this.#engines().map((engine) => this.#dispose(engine)))
    onClose()
  }

  /** Whether something is on its way that is worth waiting for. */
  #hasUnsent(): boolean {
    const engine = this.#engine
    if (engine === undefined || engine.connections[0]?.client.status !== 'ready') return false
    return engine.worker.isFetching || this.#leases.settling > 0
  }

  async #dispose(engine: Engine): Promise<void> {
    // Does not end while handlers run, or while the server is away, and needs not: what ends it are its connections.
    const ended = withDeadline(this.#parts.clock, flushMs, engine.worker.close(true), () => new Error('late'))
    await Promise.all([ended.catch(() => {}), ...engine.connections.map((connection) => connection.close())])
  }

  async #makeEngine(timeoutMs: number): Promise<Engine> {
    const { clock, connection, prefix, options } = this.#parts
    const late = new AbortController()
    const timer = clock.setTimer(() => late.abort(), timeoutMs, 'foreground')
    const signal = AbortSignal.any([late.signal, this.#opening.signal])
    const opened = await Promise.allSettled([
      connection.duplicate({ resends: true, signal }),
      connection.duplicate({ resends: true, blockMs: drainDelayMs + 1_000, signal }),
    ])
    timer.cancel()
    const connections = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    const [main, blocking] = connections
    if (main === undefined || blocking === undefined || signal.aborted) {
      await Promise.all(connections.map((each) => each.close()))
      const [failure]: readonly unknown[] = opened.flatMap((each) =>
        each.status === 'rejected' ? [each.reason] : [],
      )
      const ended = new Error(late.signal.aborted ? `no connection within ${timeoutMs} ms` : 'it was closed')
      throw toRedisError(signal.aborted ? ended : failure, {
        address: connection.address,
        operation: 'process',
        outcome: 'not-sent',
      })
    }
    const { leaseMs, maxCrashes } = options
    const worker = new BullWorker(
      bullName,
      (job, token = '') => this.#process(job, token, worker),
      {
        ...bullOptions(main.client),
        // One that was stuck may have taken the last slot meanwhile.
        concurrency: Math.max(1, options.concurrency - this.#leases.busy),
        lockDuration: leaseMs,
        // A lock that is gone is noticed within this.
        lockRenewTime: leaseMs / 4,
        stalledInterval: leaseMs / 4,
        maxStalledCount: maxCrashes,
        drainDelay: drainDelayMs / 1_000,
        runRetryDelay: againMs,
        settings: { backoffStrategy: (_, __, error) => (error instanceof RetryJob ? error.delayMs : 0) },
      },
      backendOn(prefix, main.client, blocking.client),
      {
        clock,
        events: {
          onRenewed: (ids, sentAtMs) => this.#leases.renew(ids, worker, sentAtMs),
          onRenewalRefused: (ids) => ids.forEach((id) => this.#lose(this.#leases.get(id, worker))),
          onAnswer: () => this.#onAnswer(),
          onRefusal: (error) => this.#onError(error, 'settling a job'),
          find: (id) => this.#leases.get(id, worker),
          isHeld: (held) => this.#closing === undefined && this.#leases.isHeld(held),
          onIgnored: (held) => this.#ignore(held),
          onEnd: (held) => this.#end(held),
        },
      },
    )
    worker.on('error', (error) => this.#onError(error, 'taking jobs'))
    worker.on('stalled', (id) => this.#parts.receiver.stalled(id))
    return { worker, connections }
  }

  async #process(job: Job<unknown, void>, token: string, worker: BullWorker): Promise<void> {
    const { id = '', data } = job
    if (this.#leases.isRunning(id)) {
      // Lost and taken again while its handler still runs here.
      await job.moveToDelayed(Date.now() + stillRunsMs, token)
      throw new WaitingError()
    }
    if (this.#isPaused) return this.#giveBack(this.#leases.begin(id, worker, 'settling'), job, token)
    const record = readJobData(id, data)
    const held = this.#leases.begin(id, worker, record === undefined ? 'settling' : 'running')
    if (record === undefined) throw new UnrecoverableError(JSON.stringify(this.#unreadable(job)))
    const delivery: Delivery = {
      record,
      attempt: job.attemptsMade + 1,
      redelivered: job.attemptsStarted > 1,
      progress: (value, timeoutMs) => this.#parts.progress(id, value, timeoutMs),
    }
    const settlement = await this.#parts.receiver.run(delivery)
    if (held.state === 'lost') {
      this.#leases.end(held)
      throw new WaitingError()
    }
    held.state = 'settling'
    return this.#settle(settlement, held, job, token)
  }

  /** What is thrown says to BullMQ what becomes of the job. */
  async #settle(settlement: Settlement, held: Held, job: Job<unknown, void>, token: string): Promise<void> {
    if (settlement.type === 'done') return
    if (settlement.type === 'dead') throw new UnrecoverableError(JSON.stringify(settlement.failure))
    if (settlement.type === 'return') return this.#giveBack(held, job, token)
    const { delayMs, isAttempt } = settlement
    if (isAttempt) throw new RetryJob(Math.ceil(delayMs))
    const dueMs = Date.now() + Math.ceil(delayMs)
    await this.#move(held, () => (delayMs > 0 ? job.moveToDelayed(dueMs, token) : job.moveToWait(token)))
    throw new WaitingError()
  }

  async #giveBack(held: Held, job: Job<unknown, void>, token: string): Promise<never> {
    await this.#move(held, () => job.moveToWait(token))
    await pause(this.#parts.clock, returnPauseMs)
    throw new WaitingError()
  }

  /** As long as the lease lasts: BullMQ goes on renewing it meanwhile. */
  async #move(held: Held, move: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await move()
        this.#end(held)
        return
      } catch (error) {
        if (isRefusal(error)) break
        this.#onError(error, 'settling a job')
        if (this.#closing !== undefined || !this.#leases.isHeld(held)) break
      }
      await pause(this.#parts.clock, againMs)
    }
    this.#ignore(held)
  }

  #end(held: Held | undefined): void {
    if (!this.#leases.end(held)) return
    this.#answeredAtMs = this.#parts.clock.monotonicMs()
    this.#troubles.delete('settling a job')
  }

  /** Told once. */
  #ignore(held: Held | undefined): void {
    if (held !== undefined && this.#leases.end(held)) this.#parts.receiver.settleIgnored(held.id)
  }

  #lose(held: Held | undefined): void {
    if (held?.state !== 'running') return
    held.state = 'lost'
    held.worker.giveUp(held.id)
    this.#parts.receiver.lost(held.id)
  }

  #unreadable({ attemptsMade }: Job): Failure {
    const { clock, nodeId } = this.#parts
    return {
      reason: 'invalid',
      name: 'Error',
      message: 'It was not written by this library, or by a later version of it.',
      stack: '',
      nodeId,
      attempts: attemptsMade + 1,
      atMs: clock.wallMs(),
    }
  }

  #onAnswer(): void {
    this.#answeredAtMs = this.#parts.clock.monotonicMs()
    this.#troubles.delete('taking jobs')
  }

  /** Once for each kind of trouble, until that work succeeds. */
  #onError(error: unknown, operation: Work): void {
    if (this.#closing !== undefined) return
    const { connection, report } = this.#parts
    const trouble = toRedisError(error, {
      address: connection.address,
      operation,
      outcome: 'unknown',
    })
    if (trouble.code === this.#troubles.get(operation)) return
    this.#troubles.set(operation, trouble.code)
    report(trouble)
  }

  #watch(): void {
    const { clock, options } = this.#parts
    this.#timer = clock.setTimer(
      () => {
        for (const held of this.#leases.overdue()) {
          if (held.state === 'running') this.#lose(held)
          else this.#ignore(held)
        }
        void this.#dropRetired()
        void this.#replaceIfStuck()
        this.#watch()
      },
      Math.min(1_000, options.leaseMs / 8),
      'background',
    )
  }

  /** BullMQ trusts ioredis to end a fetch whose connection is gone. Where that fails, a worker would be silent for ever. */
  async #replaceIfStuck(): Promise<void> {
    const stuck = this.#engine
    if (stuck === undefined || this.#isReplacing || !this.#isStuck()) return
    this.#isReplacing = true
    try {
      if (!(await this.#parts.hasJobs()) || !this.#isStuck()) return
      await stuck.worker.pause(true)
      const next = await this.#makeEngine(this.#parts.callTimeoutMs)
      if (this.#closing !== undefined) return await this.#dispose(next)
      if (!this.#isPaused && !this.#isStuck()) {
        // It went on meanwhile.
        await Promise.all([stuck.worker.resume(), this.#dispose(next)])
        return
      }
      this.#retired.add(stuck)
      this.#engine = next
      this.#answeredAtMs = this.#parts.clock.monotonicMs()
      if (this.#isPaused) await next.worker.pause(true)
      void next.worker.run()
    } catch (error) {
      this.#onError(error, 'taking jobs')
    } finally {
      this.#isReplacing = false
    }
  }

  async #dropRetired(): Promise<void> {
    for (const engine of this.#retired) {
      if (this.#leases.of(engine.worker) > 0) continue
      this.#retired.delete(engine)
      if (this.#retired.size === 0 && this.#engine !== undefined)
        this.#engine.worker.concurrency = this.#parts.options.concurrency
      await this.#dispose(engine)
    }
  }

  #engines(): Engine[] {
    return this.#engine === undefined ? [] : [this.#engine, ...this.#retired]
  }

  #isStuck(): boolean {
    const { clock, options } = this.#parts
    const isFull = this.#leases.busy >= options.concurrency
    return !this.#isPaused && !isFull && clock.monotonicMs() - this.#answeredAtMs > stuckMs
  }
}
