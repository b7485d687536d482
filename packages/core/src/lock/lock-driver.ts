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
 * What a backend does for {@link Locks}. Every call settles within `timeoutMs`, rejects with a typed error that says
 * truly whether the request left (`outcome`), and may run concurrently with any other. No clock of a client may enter
 * a decision: the backend's time rules.
 */
export interface LockDriver extends Driver {
  readonly features: LockFeatures
  /**
   * One attempt, in one round trip, that never waits. At most one unexpired grant exists per key. Repeating it with
   * the same owner while the grant stands gives the same token and starts the lease anew. The token is a safe integer,
   * minted in the same atomic step, strictly greater than that of every earlier grant of this key.
   */
  acquire(request: AcquireRequest, timeoutMs: number): Promise<AcquireReply>
  /** Starts the lease anew if `owner` still has it. Never creates one. One round trip. */
  extend(key: string, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply>
  /** Ends the lease if `owner` still has it. One round trip. */
  release(key: string, owner: string, timeoutMs: number): Promise<ReleaseReply>
  /**
   * Undoes whatever an abandoned acquisition did or may still do: leaves the queue, releases what was granted, and
   * refuses (`cancelled`) attempts of this owner that arrive later. One round trip.
   */
  cancel(key: string, owner: string, timeoutMs: number): Promise<void>
  /**
   * Calls `wake` when `owner` should ask again sooner than it was told. Only drivers that push have it; a lost push
   * costs no more than `retryAfterMs`.
   * @returns ends the subscription
   */
  onWake?(owner: string, wake: () => void): () => void
}

export type LockPlugin = Plugin<LockDriver> & { readonly capability: 'lock' }
