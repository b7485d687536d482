import type { Driver } from '../registry/driver.ts'
import type { Plugin } from '../registry/plugin.ts'

/** What a lock backend guarantees. */
export interface LockFeatures {
  /** Who is excluded: only this process, or all nodes of the cluster. */
  readonly scope: 'process' | 'cluster'
  /** `fifo`: waiters are served in the order in which they asked. `none`: whoever asks first once it is free. */
  readonly order: 'fifo' | 'none'
  readonly [feature: string]: string
}

export interface AcquireRequest {
  readonly key: string
  /** Unique per acquisition, the same for its repeated attempts. */
  readonly owner: string
  readonly ttlMs: number
  /** How much longer the caller will wait; 0 means that it will not ask again. */
  readonly waitMs: number
}

/**
 * `granted`: the lease runs `ttlMs` from no later than now. `busy`: somebody else has it, or is before us; ask again
 * after `retryAfterMs` at the latest. `cancelled`: this owner was cancelled before, see {@link LockDriver.cancel}.
 */
export type AcquireReply =
  | { readonly status: 'granted'; readonly token: number }
  | { readonly status: 'busy'; readonly retryAfterMs: number }
  | { readonly status: 'cancelled' }

export type ReleaseReply = 'released' | 'expired' | 'not-owner'
export type ExtendReply = 'extended' | 'expired' | 'not-owner'

/**
 * The verbs of leases. Every call settles within `timeoutMs`, rejects with a typed error that says
 * truly whether the request left (`outcome`), and may run concurrently with any other. No clock of a client may enter
 * a decision: the backend's time rules.
 */
export interface LeaseVerbs<Request extends AcquireRequest = AcquireRequest> {
  /**
   * One attempt, in one round trip, that never waits. At most one unexpired grant exists per key. Repeating it with
   * the same owner while the grant stands gives the same token and starts the lease anew, unless it was extended for longer. The token is a safe integer,
   * minted in the same atomic step, strictly greater than that of every earlier grant of this key.
   */
  acquire(request: Request, timeoutMs: number): Promise<AcquireReply>
  /**
   * Makes the lease last `ttlMs` from now if `owner` still has it. Never creates one, and never shortens one, because requests may overtake each
   * other. One round trip.
   */
  extend(key: string, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply>
  /** Ends the lease if `owner` still has it. One round trip. */
  release(key: string, owner: string, timeoutMs: number): Promise<ReleaseReply>
  /**
   * Undoes whatever an abandoned acquisition did or may still do: leaves the queue, releases what was granted, and
   * refuses (`cancelled`) attempts of this owner that arrive later. One round trip.
   */
  cancel(key: string, owner: string, timeoutMs: number): Promise<void>
}

/** What a backend does for {@link Locks}. */
export interface LockDriver extends Driver, LeaseVerbs {
  readonly features: LockFeatures
  /** Semaphores and read-write locks, where the backend has them. Their keys are apart from those of plain locks. */
  readonly shared?: SharedLockDriver
  /** Scheduled jobs that run on one node only, where the backend has them. */
  readonly jobs?: JobDriver
  /**
   * Calls `wake` when `owner` should ask again sooner than it was told. Only drivers that push have it; a lost push
   * costs no more than `retryAfterMs`.
   * @returns ends the subscription
   */
  onWake?(owner: string, wake: () => void): () => void
}

/**
 * `write`: alone. `read`: beside other readers; those who read at the same time have the same token, which is greater than that of
 * every writer before. `permit`: beside less than `permits` others, each with a token of its own.
 */
export type SharedMode = 'write' | 'read' | 'permit'

export interface SharedAcquireRequest extends AcquireRequest {
  readonly mode: SharedMode
  /** How many may hold it at once, when the mode is `permit`. The number of whoever asks counts. */
  readonly permits: number
}

/** Leases that several may hold at once. One queue for all modes: nobody passes a waiter who asked before. */
export type SharedLockDriver = LeaseVerbs<SharedAcquireRequest>

export interface FireRequest {
  readonly job: string
  readonly owner: string
  /** When it should fire by its schedule: the identity of the fire. */
  readonly scheduledAtMs: number
  /** How long it may run before another fire may begin. */
  readonly atMostMs: number
  /** How far the fire may be ahead of the backend's clock. */
  readonly maxSkewMs: number
}

/**
 * `run`: this owner runs it, with this token. `duplicate`: this fire or a later one was claimed before. `busy`: an earlier fire still
 * runs, for so long at most; the claim changed nothing. `early`: it is further ahead than allowed.
 */
export type FireReply =
  | { readonly status: 'run'; readonly token: number }
  | { readonly status: 'duplicate' }
  | { readonly status: 'busy'; readonly retryAfterMs: number }
  | { readonly status: 'early'; readonly backendMs: number }

/**
 * One record a job, that never expires: the last fire that was claimed, and the lease of who runs it. Verbs as in {@link LeaseVerbs}: deadlines,
 * one round trip each, and a repeated claim of the same owner gives the same answer.
 */
export interface JobDriver {
  claim(request: FireRequest, timeoutMs: number): Promise<FireReply>
  extend(job: string, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply>
  /** Ends the lease of a run, and keeps the last fire. */
  done(job: string, owner: string, timeoutMs: number): Promise<ReleaseReply>
}

export type LockPlugin = Plugin<LockDriver> & { readonly capability: 'lock' }
