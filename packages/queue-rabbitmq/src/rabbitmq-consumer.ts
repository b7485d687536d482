import type { Delivery, RabbitmqConnection, Consumer as Subscription } from '@multinode/connection-rabbitmq'
import {
  type Clock,
  type ConsumeOptions,
  type Consumer,
  type Failure,
  isMultinodeError,
  type JobPriority,
  type JobReceiver,
  pause,
  type Settlement,
  withDeadline,
} from '@multinode/core'
import { type QueuedJob, readJob, unreadableJob } from './job-message.ts'
import type { JobSender } from './job-sender.ts'
import { isTooLarge } from './too-large.ts'
import type { LineTopology } from './topology.ts'

/** How soon a settlement is sent again that the server did not take; later each time, while many jobs may wait for that. */
const againMs = 250
const longestAgainMs = 2_000
const betweenReportsMs = 1_000
/** How long a job that was not started may take to go back without counting as a crash. */
const giveBackMs = 1_000
/** How long what was decided may take to reach the server when the consumer closes. */
const flushMs = 200
/** How long the server may take to say that it has its jobs back. */
const endMs = 100
/** Of seven parts of what a worker may hold, with priorities. None has less than its parts, so that it keeps its turn. */
const shares: Readonly<Record<JobPriority, number>> = { high: 4, normal: 2, low: 1 }

export interface ConsumerParts {
  readonly connection: RabbitmqConnection
  readonly topology: LineTopology
  readonly sender: JobSender
  readonly nodeId: string
  readonly clock: Clock
  readonly callTimeoutMs: number
  readonly report: (error: unknown) => void
  readonly options: ConsumeOptions
  readonly receiver: JobReceiver
  readonly onClose: () => void
}

/** A job that this node has. `lost`: it was taken away while it ran. */
interface Held {
  readonly delivery: Delivery
  readonly job: QueuedJob
  readonly isReadable: boolean
  state: 'waiting' | 'running' | 'settling' | 'lost'
}

/**
 * Takes jobs for one worker of core, and carries out what becomes of them. What becomes of a job is a confirmed copy before its ack, so that a crash in between makes two and
 * never none. It counts as crashed as often as the server delivered it again: what goes back on purpose is a copy, which knows what counted before.
 */
export class RabbitmqConsumer implements Consumer {
  readonly #parts: ConsumerParts
  readonly #subscriptions: readonly Subscription[]
  readonly #held = new Set<Held>()
  readonly #waiting: Readonly<Record<JobPriority, Held[]>> = { high: [], normal: [], low: [] }
  readonly #settling = new Set<Promise<void>>()
  readonly #returning = new Set<Promise<void>>()
  #running = 0
  #isPaused = false
  /** What was told last of settlements that do not succeed. */
  #trouble: string | undefined
  readonly #toldAtMs = new Map<string, number>()
  readonly #ending = new AbortController()
  #closing: Promise<void> | undefined

  constructor(parts: ConsumerParts) {
    this.#parts = parts
    this.#subscriptions = parts.topology.priorities.map((priority) => this.#subscribe(priority))
  }

  async start(timeoutMs: number): Promise<void> {
    await Promise.all(this.#subscriptions.map((each) => each.whenAttached(timeoutMs)))
  }

  async pause(): Promise<void> {
    this.#isPaused = true
    const { callTimeoutMs } = this.#parts
    await Promise.all(this.#subscriptions.map((each) => each.stop(callTimeoutMs)))
    this.#giveBackAll()
    // What becomes of jobs that ran may take as long as the server takes no messages.
    await Promise.all(this.#returning)
  }

  async resume(): Promise<void> {
    this.#isPaused = false
    const { callTimeoutMs } = this.#parts
    await Promise.all(this.#subscriptions.map((each) => each.resume(callTimeoutMs)))
    this.#startNext()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { connection, onClose } = this.#parts
    this.#isPaused = true
    this.#ending.abort()
    // What fails, or is late, goes back when the channels close. A server that takes no messages would only be waited for.
    if (connection.state.status === 'up') await this.#waitFor(this.#flush(), flushMs)
    await this.#waitFor(Promise.all(this.#subscriptions.map((each) => each.close())), endMs)
    onClose()
  }

  async #waitFor(work: Promise<unknown>, ms: number): Promise<void> {
    await withDeadline(this.#parts.clock, ms, work, () => new Error('late')).catch(() => {})
  }

  async #flush(): Promise<void> {
    await Promise.all(this.#subscriptions.map((each) => each.stop(flushMs)))
    this.#giveBackAll()
    await Promise.all([...this.#returning, ...this.#settling])
  }

  #subscribe(priority: JobPriority): Subscription {
    const { connection, topology, options } = this.#parts
    const { prefetch } = options
    const share = shares[priority]
    return connection.consume(
      {
        queue: topology.names.work[priority],
        prefetch:
          topology.priorities.length === 1 ? prefetch : Math.max(share, Math.ceil((prefetch * share) / 7)),
        setup: (channel) => topology.declare(channel),
        onDetached: () => this.#onDetached(),
      },
      (delivery) => this.#take(delivery, priority),
    )
  }

  #take(delivery: Delivery, priority: JobPriority): void {
    const { clock, receiver } = this.#parts
    const job = readJob(delivery.message)
    const held: Held = {
      delivery,
      job: job ?? unreadableJob(delivery.message, clock.wallMs()),
      isReadable: job !== undefined,
      state: 'waiting',
    }
    this.#held.add(held)
    if (delivery.message.fields.redelivered) receiver.stalled(held.job.record.id)
    if (this.#isPaused) return this.#settleIn(held, { type: 'return' })
    this.#waiting[priority].push(held)
    this.#startNext()
  }

  #startNext(): void {
    while (!this.#isPaused && this.#running < this.#parts.options.concurrency) {
      const { high, normal, low } = this.#waiting
      const held = high.shift() ?? normal.shift() ?? low.shift()
      if (held === undefined) return
      if (held.state === 'waiting') void this.#run(held)
    }
  }

  async #run(held: Held): Promise<void> {
    const known = this.#decideAlone(held)
    if (known !== undefined) return this.#settleIn(held, known)
    const { record, attempt, wasStarted } = held.job
    held.state = 'running'
    this.#running += 1
    const settlement = await this.#parts.receiver.run({ record, attempt, redelivered: wasStarted })
    this.#running -= 1
    this.#afterRun(held, settlement)
    this.#startNext()
  }

  /** Core knows of a job that was lost, and what became of it counts no more. */
  #afterRun(held: Held, settlement: Settlement): void {
    if (held.state === 'lost') this.#held.delete(held)
    else this.#settleIn(held, settlement)
  }

  /** What becomes of a job that is not to be run now. */
  #decideAlone({ job, isReadable }: Held): Settlement | undefined {
    const { crashes, restMs } = job
    if (!isReadable) {
      return this.#dead(job, 'invalid', 'It was not written by this library, or by a later version of it.')
    }
    if (crashes > this.#parts.options.maxCrashes) {
      return this.#dead(job, 'crashed', `Its workers ended ${crashes} times while they had it.`)
    }
    if (restMs > 0) return { type: 'retry', delayMs: restMs, isAttempt: false }
    return undefined
  }

  #dead({ attempt, record }: QueuedJob, reason: Failure['reason'], message: string): Settlement {
    const { nodeId, clock } = this.#parts
    const attempts = Math.min(attempt, record.attemptsMax)
    const about = { reason, message, nodeId, attempts, atMs: clock.wallMs() }
    return { type: 'dead', failure: { ...about, name: 'Error', stack: '' } }
  }

  #settleIn(held: Held, settlement: Settlement): void {
    held.state = 'settling'
    if (settlement.type === 'done') return this.#end(held)
    const underWay = settlement.type === 'return' ? this.#returning : this.#settling
    const work = this.#settle(held, settlement).finally(() => underWay.delete(work))
    underWay.add(work)
  }

  async #settle(held: Held, settlement: Exclude<Settlement, { readonly type: 'done' }>): Promise<void> {
    if (settlement.type === 'return') return this.#giveBack(held)
    const { clock, callTimeoutMs } = this.#parts
    for (let pauseMs = againMs; held.delivery.isCurrent; pauseMs = Math.min(longestAgainMs, pauseMs * 2)) {
      try {
        await this.#carryOut(held.job, settlement, callTimeoutMs)
        this.#trouble = undefined
        break
      } catch (error) {
        this.#tell(error)
        if (isTooLarge(error)) return this.#rejectAsItIs(held)
      }
      if (this.#closing !== undefined) return
      await pause(clock, pauseMs, this.#ending.signal)
    }
    this.#end(held)
  }

  #carryOut(
    job: QueuedJob,
    settlement: Extract<Settlement, { readonly type: 'retry' | 'dead' }>,
    timeoutMs: number,
  ): Promise<void> {
    const { sender } = this.#parts
    if (settlement.type === 'dead') {
      return sender.sendDead({ ...job, wasStarted: true, restMs: 0, failure: settlement.failure }, timeoutMs)
    }
    const { delayMs, isAttempt } = settlement
    // One that only waits on, because its delay is longer than the delay line, was not started.
    const wasStarted = job.wasStarted || job.restMs === 0
    const attempt = isAttempt ? job.attempt + 1 : job.attempt
    return sender.send({ ...job, attempt, wasStarted, restMs: 0 }, delayMs, timeoutMs)
  }

  /** As a copy, because the server would count its return as a crash; as a crash, if there is no other way. */
  async #giveBack(held: Held): Promise<void> {
    const { sender } = this.#parts
    try {
      await sender.send(held.job, 0, giveBackMs)
    } catch (error) {
      this.#tell(error)
      held.delivery.nack()
      this.#held.delete(held)
      return
    }
    this.#end(held)
  }

  #giveBackAll(): void {
    const unstarted = [...this.#held].filter(({ state }) => state === 'waiting')
    for (const list of Object.values(this.#waiting)) list.length = 0
    for (const held of unstarted) this.#settleIn(held, { type: 'return' })
  }

  /** The server itself makes a dead letter of what cannot be copied. */
  #rejectAsItIs(held: Held): void {
    this.#held.delete(held)
    if (!held.delivery.nack({ requeue: false })) this.#parts.receiver.settleIgnored(held.job.record.id)
  }

  #end(held: Held): void {
    this.#held.delete(held)
    if (!held.delivery.ack()) this.#parts.receiver.settleIgnored(held.job.record.id)
  }

  /** A channel was lost: what it had delivered comes again, here or elsewhere. */
  #onDetached(): void {
    for (const held of this.#held) {
      if (held.delivery.isCurrent || held.state === 'settling' || held.state === 'lost') continue
      const wasRunning = held.state === 'running'
      held.state = 'lost'
      if (wasRunning) this.#parts.receiver.lost(held.job.record.id)
      else this.#held.delete(held)
    }
  }

  /** Once for each kind of trouble, until a settlement succeeds; one a second where others do all the time. */
  #tell(error: unknown): void {
    const trouble = isMultinodeError(error) ? error.code : String(error)
    if (this.#closing !== undefined || trouble === this.#trouble) return
    const nowMs = this.#parts.clock.monotonicMs()
    if (nowMs - (this.#toldAtMs.get(trouble) ?? -Infinity) < betweenReportsMs) return
    this.#toldAtMs.set(trouble, nowMs)
    this.#trouble = trouble
    this.#parts.report(error)
  }
}
