import type { MultinodeError } from '../errors/multinode-error.ts'
import type { Driver } from '../registry/driver.ts'
import type { Plugin } from '../registry/plugin.ts'

/** What a backend of queues guarantees. What it cannot do is `UNSUPPORTED`, and never silently left out. */
export interface QueueFeatures {
  /** Whose workers take the jobs: those of this process, or of all nodes of the cluster. */
  readonly scope: 'process' | 'cluster'
  /** What survives the death of the backend's process. `none`: nothing. */
  readonly persistence: string
  /** How exactly a delayed job comes; never early. */
  readonly delayStepMs: number
  /** How much later a delayed job may come after a crash of the backend. */
  readonly lateAfterCrashMs: number
  /** Whether a repeated `add` with the same key can be told from a new one. */
  readonly dedupe: boolean
  /** Whether a job can be looked up, and taken back, by its id. */
  readonly lookup: boolean
  /** Whether a handler can say how far it is. */
  readonly progress: boolean
  /** Whether all nodes can be paused at once. */
  readonly clusterPause: boolean
  /** Whether all numbers of `counts` are known. */
  readonly exactCounts: boolean
  /** The longest payload together with its headers. */
  readonly maxBytes: number
  /** What `concurrency: 0` stands for. */
  readonly maxConcurrency: number
  readonly [feature: string]: string | number | boolean
}

export type JobPriority = 'high' | 'normal' | 'low'

export interface BackoffSettings {
  readonly type: 'fixed' | 'exponential'
  readonly delayMs: number
  readonly maxDelayMs: number
  /** Which part of the delay is random, 0 to 1. */
  readonly jitter: number
}

/** What is stored with a job, besides what the driver itself counts. */
export interface JobRecord {
  readonly id: string
  /** JSON. */
  readonly payload: string
  readonly headers: Readonly<Record<string, string>>
  /** When it was added, by the clock of the node that did, in ms since 1970. */
  readonly addedAtMs: number
  readonly attemptsMax: number
  readonly backoff: BackoffSettings
  readonly timeoutMs: number | undefined
  /** Not started after that, in ms since 1970. */
  readonly expiresAtMs: number | undefined
}

export interface NewJob {
  readonly record: JobRecord
  readonly delayMs: number
  readonly priority: JobPriority
  readonly dedupe: { readonly key: string; readonly ttlMs: number | undefined } | undefined
}

/** `id`: of the job that is there, which is another one's for a `duplicate`. */
export type AddReply =
  | { readonly status: 'added' | 'duplicate'; readonly id: string }
  | { readonly status: 'failed'; readonly error: MultinodeError }

/** A job that the driver has taken for this node. */
export interface Delivery {
  readonly record: JobRecord
  /** 1 for the first one. Counts those that failed, not those that a crash cut short. */
  readonly attempt: number
  /** Whether it was taken before, by whomever. */
  readonly redelivered: boolean
  /** Only with {@link QueueFeatures.progress}. */
  progress?(value: unknown, timeoutMs: number): Promise<void>
}

/** Why a job is a dead letter. `crashed`: its workers died, or lost their lease, too often. `invalid`: it could not be read. */
export type DeadReason = 'failed' | 'unrecoverable' | 'crashed' | 'invalid'

export interface Failure {
  readonly reason: DeadReason
  readonly name: string
  readonly message: string
  /** At most 4,096 characters. */
  readonly stack: string
  readonly nodeId: string
  readonly attempts: number
  /** In ms since 1970, by the clock of that node. */
  readonly atMs: number
}

/** What becomes of a job. `return`: it was not started, and waits again at once; that is neither an attempt nor a crash. */
export type Settlement =
  | { readonly type: 'done' }
  | { readonly type: 'retry'; readonly delayMs: number; readonly isAttempt: boolean }
  | { readonly type: 'dead'; readonly failure: Failure }
  | { readonly type: 'return' }

/** What a driver tells core. None of it throws or rejects. */
export interface JobReceiver {
  /** Resolves with what becomes of the job; the driver carries it out. At most `concurrency` at once. */
  run(delivery: Delivery): Promise<Settlement>
  /** The lease of a job that runs is gone: another node may have it. Its settlement will be ignored. */
  lost(id: string): void
  /** A settlement came too late, or was not accepted: the job may run again. */
  settleIgnored(id: string): void
  /** A job was taken from a worker that is gone. */
  stalled(id: string): void
}

export interface ConsumeOptions {
  readonly concurrency: number
  /** How many jobs may be held by this node, those that run included. */
  readonly prefetch: number
  /** How long a job stays with a node that is not heard of. */
  readonly leaseMs: number
  /** After so many starts that a crash cut short a job is a dead letter. */
  readonly maxCrashes: number
}

/** One worker's source of jobs. Heals by itself, for ever. */
export interface Consumer {
  /** Resolves when no further job is taken, and those that were not started are on their way back. Those that run go on. */
  pause(): Promise<void>
  resume(): Promise<void>
  /**
   * As {@link pause}. What `run` has resolved with before is carried out first; a job that runs goes back as after a crash. Never rejects, and does not wait for
   * jobs.
   */
  close(): Promise<void>
}

/** `null`: this backend does not know. */
export interface QueueCounts {
  readonly waiting: number | null
  readonly active: number | null
  readonly delayed: number | null
  readonly dead: number | null
  /** How long the job that is next has waited. */
  readonly oldestWaitingMs: number | null
}

export interface DeadJob {
  readonly record: JobRecord
  readonly failure: Failure
}

export interface StoredJob {
  readonly record: JobRecord
  readonly state: 'waiting' | 'active' | 'delayed' | 'dead'
  readonly attempt: number
  readonly progress: unknown
}

/**
 * One queue on one backend. Every call settles within its `timeoutMs` and rejects with a typed error that says truly whether the request left.
 */
export interface QueueLine {
  /**
   * One reply for each job, in order; a job's failure is its own. Repeating it with the same ids, while the jobs are there, adds none twice where the backend
   * can tell. Never called with what {@link QueueFeatures} does not offer.
   */
  add(jobs: readonly NewJob[], timeoutMs: number): Promise<readonly AddReply[]>
  consume(options: ConsumeOptions, receiver: JobReceiver, timeoutMs: number): Promise<Consumer>
  counts(timeoutMs: number): Promise<QueueCounts>
  /** Removes what waits, and what is delayed. @returns how many, `null` if unknown */
  purge(timeoutMs: number): Promise<number | null>
  /** The oldest ones first. */
  listDead(limit: number, timeoutMs: number): Promise<readonly DeadJob[]>
  /** Makes them wait again, with all their attempts, and not lost whenever it is interrupted. @returns how many */
  redrive(
    choice: { readonly ids?: readonly string[]; readonly limit: number },
    timeoutMs: number,
  ): Promise<number>
  /** @returns how many */
  purgeDead(timeoutMs: number): Promise<number>
  /** With {@link QueueFeatures.clusterPause}. */
  pauseAll?(isPaused: boolean, timeoutMs: number): Promise<void>
  /** With {@link QueueFeatures.lookup}. */
  get?(id: string, timeoutMs: number): Promise<StoredJob | undefined>
  /** With {@link QueueFeatures.lookup}: removes it unless it runs. */
  remove?(id: string, timeoutMs: number): Promise<'removed' | 'running' | 'not-found'>
}

export interface QueueDefinition {
  readonly name: string
  readonly hasPriorities: boolean
}

export interface QueueDriver extends Driver {
  readonly features: QueueFeatures
  /** Idempotent; makes what the queue needs at the backend. */
  open(definition: QueueDefinition, timeoutMs: number): Promise<QueueLine>
}

export type QueuePlugin = Plugin<QueueDriver> & { readonly capability: 'queue' }
