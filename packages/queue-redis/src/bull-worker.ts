import { type Clock, pause } from '@multinode/core'
import {
  type BackendFactory,
  type Job,
  type Processor,
  type RedisQueueBackend,
  type Span,
  UnrecoverableError,
  WaitingError,
  Worker,
  type WorkerOptions,
  isNotConnectionError,
} from 'bullmq'
import { isRefusal, RetryJob } from './bull-errors.ts'
import type { Held } from './leases.ts'

/** How long a refused settlement waits before it is sent again. */
const againMs = 250
/** How long it waits after the first refused attempt to take a job; doubled with each further one. */
const firstRefusedMs = 50
const longestRefusedMs = 1_000

export interface BullWorkerEvents {
  /** Their leases last from when this was sent. */
  onRenewed(ids: readonly string[], sentAtMs: number): void
  onRenewalRefused(ids: readonly string[]): void
  /** It asked for a job, and got an answer. */
  onAnswer(): void
  /** What this worker has under that id now. */
  find(id: string): Held | undefined
  /** Whether there is still time to settle it. */
  isHeld(held: Held | undefined): boolean
  /** The server refused what became of a job; it is sent again as long as there is time. */
  onRefusal(error: unknown): void
  onIgnored(held: Held | undefined): void
  /** It was settled. */
  onEnd(held: Held | undefined): void
}

type FetchNext = () => boolean

/**
 * BullMQ's worker, with four changes. What goes wrong when a job is settled is not taken for a failure of the job. Renewed leases are told with the time when
 * they were asked for. It never blocks for longer than its `drainDelay`, so that one that is stuck is told from one that waits. Where it may not take jobs it asks
 * once a second, not as fast as the server refuses.
 */
export class BullWorker extends Worker<unknown, void> {
  readonly #clock: Clock
  readonly #events: BullWorkerEvents
  readonly #ending = new AbortController()
  #fetching = 0
  #refusedMs = firstRefusedMs

  constructor(
    name: string,
    processor: Processor<unknown, void>,
    options: WorkerOptions,
    factory: BackendFactory<RedisQueueBackend>,
    parts: { readonly clock: Clock; readonly events: BullWorkerEvents },
  ) {
    // Not by itself, because its fields are not there yet.
    super(name, processor, { ...options, autorun: false }, factory)
    this.#clock = parts.clock
    this.#events = parts.events
  }

  /** Whether a job may come that nobody knows of yet. */
  get isFetching(): boolean {
    return this.#fetching > 0
  }

  /** BullMQ calls it also by itself, and then leaves its rejection to nobody. */
  override async run(): Promise<void> {
    try {
      await super.run()
    } catch (error) {
      this.emit('error', error instanceof Error ? error : new Error(String(error)))
    }
  }

  /** Its lock is not renewed any more. */
  giveUp(id: string): void {
    this.lockManager.untrackJob(id)
  }

  override async extendJobLocks(ids: string[], tokens: string[], leaseMs: number): Promise<string[]> {
    const sentAtMs = this.#clock.monotonicMs()
    const refused = await super.extendJobLocks(ids, tokens, leaseMs)
    const lost = new Set(refused)
    this.#events.onRenewed(
      ids.filter((id) => !lost.has(id)),
      sentAtMs,
    )
    if (refused.length > 0) this.#events.onRenewalRefused(refused)
    // It would tell each of them as an error.
    return []
  }

  protected override async moveToActive(token: string, name?: string): Promise<Job<unknown, void>> {
    try {
      const job = await this.#fetch(token, name)
      this.#refusedMs = firstRefusedMs
      this.#events.onAnswer()
      return job
    } catch (error) {
      if (error instanceof Error && isNotConnectionError(error)) await this.#holdBack()
      throw error
    }
  }

  async #fetch(token: string, name?: string): Promise<Job<unknown, void>> {
    this.#fetching += 1
    try {
      return await super.moveToActive(token, name)
    } finally {
      this.#fetching -= 1
    }
  }

  /** Without a time: after it could not wait for a job. */
  override async delay(...given: Parameters<Worker['delay']>): Promise<void> {
    if (given.length === 0) await this.#holdBack()
    else await super.delay(...given)
  }

  async #holdBack(): Promise<void> {
    await pause(this.#clock, this.#refusedMs, this.#ending.signal)
    this.#refusedMs = Math.min(longestRefusedMs, this.#refusedMs * 2)
  }

  override async close(force?: boolean): Promise<void> {
    this.#ending.abort()
    await super.close(force)
  }

  protected override getBlockTimeout(blockUntilMs: number): number {
    return Math.min(super.getBlockTimeout(blockUntilMs), this.opts.drainDelay ?? 1)
  }

  protected override handleCompleted(
    result: void,
    job: Job<unknown, void>,
    token: string,
    fetchNext?: FetchNext,
    span?: Span,
  ): Promise<Job<unknown, void>> {
    return this.#settle(
      job,
      () => super.handleCompleted(result, job, token, fetchNext, span),
      () => super.handleFailed(new WaitingError(), job, token, fetchNext, span),
    )
  }

  protected override handleFailed(
    error: Error,
    job: Job<unknown, void>,
    token: string,
    fetchNext?: FetchNext,
    span?: Span,
  ): Promise<Job<unknown, void>> {
    const skip = (): Promise<Job<unknown, void>> =>
      super.handleFailed(new WaitingError(), job, token, fetchNext, span)
    // All else is trouble of BullMQ itself: the job keeps its state, and comes again when its lease is over.
    const isOurs = error instanceof RetryJob || error instanceof UnrecoverableError
    if (isOurs) return this.#settle(job, () => super.handleFailed(error, job, token, fetchNext, span), skip)
    return skip()
  }

  /** As long as the lease lasts, because the server may refuse for a moment: it loads its data, it is full, it was replaced. */
  async #settle<T>({ id = '' }: Job, settle: () => Promise<T>, skip: () => Promise<T>): Promise<T> {
    const held = this.#events.find(id)
    for (;;) {
      try {
        const next = await settle()
        this.#events.onEnd(held)
        return next
      } catch (error) {
        // BullMQ goes on until the connection is back.
        if (error instanceof Error && !isNotConnectionError(error)) throw error
        if (isRefusal(error)) break
        this.#events.onRefusal(error)
        if (!this.#events.isHeld(held)) break
      }
      await pause(this.#clock, againMs)
    }
    this.#events.onIgnored(held)
    return skip()
  }
}
