import type { Clock, Timer } from '../runtime/clock.ts'
import { JobHeap } from './job-heap.ts'
import { MemoryConsumer } from './memory-consumer.ts'
import type {
  AddReply,
  ConsumeOptions,
  DeadJob,
  Failure,
  JobPriority,
  JobReceiver,
  JobRecord,
  NewJob,
  QueueCounts,
  QueueLine,
  Settlement,
  StoredJob,
} from './queue-driver.ts'
import { WaitingJobs } from './waiting-jobs.ts'

export interface MemoryJob {
  readonly record: JobRecord
  readonly priority: JobPriority
  readonly dedupeKey: string | undefined
  state: StoredJob['state'] | 'gone'
  /** Of its last move into `waiting` or `delayed`: an older entry in a list counts no more. */
  move: number
  dueMs: number
  waitsSinceMs: number
  attempt: number
  crashes: number
  wasStarted: boolean
  progress: unknown
  failure: Failure | undefined
}

interface DelayedEntry {
  readonly dueMs: number
  readonly job: MemoryJob
  readonly move: number
}

const timerLimitMs = 3_600_000
/** Below that, what was taken out of a list costs less than looking for it. */
const compactAbove = 1_000

/** One queue of this process: the reference for what {@link QueueLine} means. */
export class MemoryLine implements QueueLine {
  readonly #clock: Clock
  readonly #jobs = new Map<string, MemoryJob>()
  readonly #waiting = new WaitingJobs()
  readonly #delayed = new JobHeap<DelayedEntry>()
  readonly #dead = new Map<string, MemoryJob>()
  readonly #dedupe = new Map<string, { readonly id: string; readonly untilMs: number }>()
  readonly #dedupeEnds = new JobHeap<{ readonly dueMs: number; readonly key: string }>()
  readonly #consumers = new Set<MemoryConsumer>()
  readonly #count = { waiting: 0, active: 0, delayed: 0 }
  #isPaused = false
  #isDispatching = false
  #timer: Timer | undefined
  #timerDueMs = Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How many jobs, keys and places in lists are kept: for tests that nothing is left behind. */
  get entries(): number {
    const lists = this.#waiting.entries + this.#delayed.size
    return this.#jobs.size + lists + this.#dedupe.size + this.#dedupeEnds.size
  }

  async add(jobs: readonly NewJob[]): Promise<AddReply[]> {
    return jobs.map((job) => this.#add(job))
  }

  async consume(options: ConsumeOptions, receiver: JobReceiver): Promise<MemoryConsumer> {
    const consumer = new MemoryConsumer(this, options, receiver)
    this.#consumers.add(consumer)
    this.dispatch()
    return consumer
  }

  async counts(): Promise<QueueCounts> {
    const sinceMs = this.#waiting.first()?.waitsSinceMs
    const nowMs = this.#clock.monotonicMs()
    return {
      ...this.#count,
      dead: this.#dead.size,
      oldestWaitingMs: sinceMs === undefined ? 0 : Math.max(0, nowMs - sinceMs),
    }
  }

  async purge(): Promise<number> {
    const removed = [...this.#jobs.values()].filter(({ state }) => state === 'waiting' || state === 'delayed')
    for (const job of removed) this.#end(job)
    return removed.length
  }

  async listDead(limit: number): Promise<DeadJob[]> {
    const found: DeadJob[] = []
    for (const { record, failure } of this.#dead.values()) {
      if (found.length === limit) break
      if (failure !== undefined) found.push({ record, failure })
    }
    return found
  }

  async redrive({
    ids,
    limit,
  }: {
    readonly ids?: readonly string[]
    readonly limit: number
  }): Promise<number> {
    const chosen = [...new Set(ids ?? this.#dead.keys())].slice(0, limit)
    const jobs = chosen.flatMap((id) => this.#dead.get(id) ?? [])
    for (const job of jobs) {
      this.#dead.delete(job.record.id)
      job.attempt = 1
      job.crashes = 0
      job.failure = undefined
      this.#wait(job)
    }
    this.dispatch()
    return jobs.length
  }

  async purgeDead(): Promise<number> {
    const jobs = [...this.#dead.values()]
    for (const job of jobs) this.#end(job)
    return jobs.length
  }

  async pauseAll(isPaused: boolean): Promise<void> {
    this.#isPaused = isPaused
    this.dispatch()
  }

  async get(id: string): Promise<StoredJob | undefined> {
    const job = this.#jobs.get(id)
    if (job === undefined || job.state === 'gone') return undefined
    const { record, state, attempt, progress } = job
    return { record, state, attempt, progress }
  }

  async remove(id: string): Promise<'removed' | 'running' | 'not-found'> {
    const job = this.#jobs.get(id)
    if (job === undefined || job.state === 'dead') return 'not-found'
    if (job.state === 'active') return 'running'
    this.#end(job)
    return 'removed'
  }

  /** Soon, and once for all that happens until then. */
  dispatch(): void {
    if (this.#isDispatching) return
    this.#isDispatching = true
    setImmediate(() => {
      this.#isDispatching = false
      this.#dispatchNow()
    })
  }

  /** Carried out for whoever has the job. */
  settle(job: MemoryJob, settlement: Settlement): void {
    this.#count.active -= 1
    if (settlement.type === 'retry') {
      if (settlement.isAttempt) job.attempt += 1
      if (settlement.delayMs > 0) this.#delay(job, settlement.delayMs)
      else this.#wait(job)
    } else if (settlement.type === 'dead') this.#bury(job, settlement.failure)
    else if (settlement.type === 'return') this.#wait(job)
    else this.#end(job)
    this.dispatch()
  }

  /** Its worker ended without settling it. */
  crash(job: MemoryJob, maxCrashes: number): void {
    this.#count.active -= 1
    job.crashes += 1
    if (job.crashes <= maxCrashes) this.#wait(job)
    else this.#bury(job, crashed(job, this.#clock.wallMs()))
    this.dispatch()
  }

  leave(consumer: MemoryConsumer): void {
    this.#consumers.delete(consumer)
  }

  /** Nobody will use it any more. */
  end(): void {
    this.#timer?.cancel()
  }

  #add({ record, delayMs, priority, dedupe }: NewJob): AddReply {
    if (this.#jobs.has(record.id)) return { status: 'added', id: record.id }
    const known = dedupe === undefined ? undefined : this.#duplicateOf(dedupe.key)
    if (known !== undefined) return { status: 'duplicate', id: known }
    const job: MemoryJob = {
      record,
      priority,
      dedupeKey: dedupe !== undefined && dedupe.ttlMs === undefined ? dedupe.key : undefined,
      state: 'gone',
      move: 0,
      dueMs: 0,
      waitsSinceMs: 0,
      attempt: 1,
      crashes: 0,
      wasStarted: false,
      progress: undefined,
      failure: undefined,
    }
    this.#jobs.set(record.id, job)
    if (dedupe !== undefined) {
      const untilMs = this.#clock.monotonicMs() + (dedupe.ttlMs ?? Infinity)
      this.#dedupe.set(dedupe.key, { id: record.id, untilMs })
      if (dedupe.ttlMs !== undefined) this.#dedupeEnds.push({ dueMs: untilMs, key: dedupe.key })
    }
    if (delayMs > 0) this.#delay(job, delayMs)
    else this.#wait(job)
    this.dispatch()
    return { status: 'added', id: record.id }
  }

  #duplicateOf(key: string): string | undefined {
    this.#forgetOldKeys()
    return this.#dedupe.get(key)?.id
  }

  #forgetOldKeys(): void {
    const nowMs = this.#clock.monotonicMs()
    for (let end = this.#dedupeEnds.first; end !== undefined && end.dueMs <= nowMs;) {
      this.#dedupeEnds.pop()
      if (this.#dedupe.get(end.key)?.untilMs === end.dueMs) this.#dedupe.delete(end.key)
      end = this.#dedupeEnds.first
    }
  }

  #wait(job: MemoryJob): void {
    this.#leaveState(job)
    job.state = 'waiting'
    job.move += 1
    job.waitsSinceMs = this.#clock.monotonicMs()
    this.#count.waiting += 1
    this.#waiting.push(job)
  }

  #delay(job: MemoryJob, delayMs: number): void {
    this.#leaveState(job)
    job.state = 'delayed'
    job.move += 1
    job.dueMs = this.#clock.monotonicMs() + delayMs
    this.#count.delayed += 1
    this.#delayed.push({ dueMs: job.dueMs, job, move: job.move })
    this.#wakeBy(job.dueMs)
  }

  #bury(job: MemoryJob, failure: Failure): void {
    this.#leaveState(job)
    this.#forgetKey(job)
    job.state = 'dead'
    job.failure = failure
    this.#dead.set(job.record.id, job)
  }

  #end(job: MemoryJob): void {
    this.#leaveState(job)
    this.#forgetKey(job)
    job.state = 'gone'
    this.#dead.delete(job.record.id)
    this.#jobs.delete(job.record.id)
    this.#compact()
  }

  #leaveState({ state }: MemoryJob): void {
    if (state === 'waiting') this.#count.waiting -= 1
    if (state === 'delayed') this.#count.delayed -= 1
  }

  /** Jobs that were taken out may have been due in years, and nobody may be there to pass them over. */
  #compact(): void {
    const { waiting, delayed } = this.#count
    if (this.#waiting.entries > Math.max(compactAbove, 2 * waiting)) this.#waiting.compact()
    if (this.#delayed.size > Math.max(compactAbove, 2 * delayed)) this.#delayed.keep(isStillDelayed)
  }

  #forgetKey({ dedupeKey, record }: MemoryJob): void {
    if (dedupeKey !== undefined && this.#dedupe.get(dedupeKey)?.id === record.id)
      this.#dedupe.delete(dedupeKey)
  }

  #dispatchNow(): void {
    if (this.#isPaused) return
    for (;;) {
      const consumer = this.#freeConsumer()
      const job = consumer === undefined ? undefined : this.#waiting.shift()
      if (consumer === undefined || job === undefined) return
      this.#count.waiting -= 1
      this.#count.active += 1
      job.state = 'active'
      consumer.start(job)
    }
  }

  /** In turn. */
  #freeConsumer(): MemoryConsumer | undefined {
    for (const consumer of this.#consumers) {
      if (!consumer.hasRoom) continue
      this.#consumers.delete(consumer)
      this.#consumers.add(consumer)
      return consumer
    }
    return undefined
  }

  #wakeBy(dueMs: number): void {
    if (dueMs >= this.#timerDueMs) return
    this.#timer?.cancel()
    this.#timerDueMs = dueMs
    const inMs = Math.min(timerLimitMs, Math.max(1, Math.ceil(dueMs - this.#clock.monotonicMs())))
    this.#timer = this.#clock.setTimer(() => this.#promote(), inMs, 'background')
  }

  /** What is due waits from now on. */
  #promote(): void {
    this.#timerDueMs = Infinity
    const nowMs = this.#clock.monotonicMs()
    for (
      let next = this.#delayed.first;
      next !== undefined && next.dueMs <= nowMs;
      next = this.#delayed.first
    ) {
      this.#delayed.pop()
      if (isStillDelayed(next)) this.#wait(next.job)
    }
    const next = this.#delayed.first
    if (next !== undefined) this.#wakeBy(next.dueMs)
    this.dispatch()
  }
}

function isStillDelayed({ job, move }: DelayedEntry): boolean {
  return job.state === 'delayed' && job.move === move
}

function crashed({ record, attempt, crashes }: MemoryJob, atMs: number): Failure {
  return {
    reason: 'crashed',
    name: 'Error',
    message: `Its workers ended ${crashes} times while it ran.`,
    stack: '',
    nodeId: '',
    attempts: Math.min(attempt, record.attemptsMax),
    atMs,
  }
}
