import type { Driver } from '../registry/driver.ts'
import type { Plugin } from '../registry/plugin.ts'

/** What a backend of worker ids guarantees. */
export interface WorkerIdFeatures {
  /** Who never shares an id: the nodes of this process, or all nodes of the cluster. */
  readonly scope: 'process' | 'cluster'
  readonly [feature: string]: string
}

/** How long things last, in ms. All nodes of a cluster must have the same. */
export interface LeaseTerms {
  /** How long an id stays ours without renewal. */
  readonly leaseMs: number
  /** How long after the end of a lease that was not released the id is given to nobody. */
  readonly quarantineMs: number
  /** How far clocks may differ. */
  readonly maxSkewMs: number
  /** How far ids may run ahead of the backend's clock, besides the lease. */
  readonly maxAheadMs: number
}

export interface ClaimRequest {
  /** Unique per acquisition, the same for its repeated attempts. */
  readonly token: string
  /** Who asks, over restarts. */
  readonly ownerKey: string
  readonly terms: LeaseTerms
  /** The asking node's wall clock. */
  readonly nowMs: number
}

export interface WorkerIdRequest extends ClaimRequest {
  /** Ids are from 0 to `range` - 1. */
  readonly range: number
  /** Which one to take if it is free. */
  readonly prefer: number | undefined
  /** The caller's word that a backend without records never had any. */
  readonly isFirstStart: boolean
}

export interface RenewRequest extends ClaimRequest {
  readonly id: number
  /** The highest timestamp that was put into an id. */
  readonly usedMs: number
  /** What the last grant or renewal answered: the claim to an id of which the backend may have lost the record. */
  readonly window: WindowReply
}

/** The timestamps, in ms since 1970, that belong to this holder of this id, and to no other one ever. */
export interface WindowReply {
  /** The first one. */
  readonly floorMs: number
  /** The last one, for now. */
  readonly ceilingMs: number
  /** When the lease ends by the backend's clock. */
  readonly untilMs: number
  /** The backend's clock. */
  readonly backendMs: number
}

/** `exhausted`: no id is free before `retryAfterMs`, unless one is released. `skewed`: the clocks differ by more than allowed. */
export type WorkerIdReply =
  | ({ readonly status: 'granted'; readonly id: number } & WindowReply)
  | { readonly status: 'exhausted'; readonly retryAfterMs: number }
  | { readonly status: 'skewed'; readonly backendMs: number }

/** `later`: the id may be had again, not before `retryAfterMs`; until then the window stays as it is. `lost`: never. */
export type RenewReply =
  | ({ readonly status: 'renewed' } & WindowReply)
  | { readonly status: 'later'; readonly retryAfterMs: number }
  | { readonly status: 'lost' }

/** One id that cannot be had by others now. */
export interface WorkerHolder {
  readonly id: number
  readonly ownerKey: string
  /** `held`, or `quarantined`: its lease ran out without a release, and what its holder may have used is not over. */
  readonly state: 'held' | 'quarantined'
  readonly sinceMs: number
  /** End of the lease, or of the quarantine, by the backend's clock. */
  readonly untilMs: number
}

/**
 * What a backend does for {@link WorkerIds}. Every call settles within `timeoutMs`, rejects with a typed error that says truly whether
 * the request left (`outcome`), may run concurrently with any other, and may be repeated without harm. The backend's clock decides,
 * except about the timestamps of ids, which come from the clocks of the nodes.
 *
 * A grant leases an id together with a *window* of timestamps. Windows of one id never overlap, whatever is paused, forgotten or
 * replaced: that is what makes ids unique, and not that a holder stops in time. So every ceiling is at most
 * `backend's clock + leaseMs + maxAheadMs`, and when the backend cannot know what was granted before (its data is new, or
 * not certainly the latest) new windows begin above that sum and `maxSkewMs`.
 */
export interface WorkerIdDriver extends Driver {
  readonly features: WorkerIdFeatures
  /**
   * One attempt that never waits. Of the ids that are free it takes one that `ownerKey` had last, else `prefer`, else the lowest that was never
   * used, else the one that is free for the longest time. An id is free when its holder released it, or `quarantineMs` after its lease ran out, and when its new window
   * begins no more than `maxAheadMs` ahead. Repeating it with the same token gives the same id.
   */
  acquire(request: WorkerIdRequest, timeoutMs: number): Promise<WorkerIdReply>
  /** Starts the lease anew and raises the ceiling, if nobody else had the id since. One round trip. */
  renew(request: RenewRequest, timeoutMs: number): Promise<RenewReply>
  /** Gives the id back with the highest timestamp that was used: the next window begins above it. One round trip. */
  release(
    request: { readonly id: number; readonly token: string; readonly usedMs: number },
    timeoutMs: number,
  ): Promise<'released' | 'not-owner'>
  /** Every id that is not free, in ascending order. One round trip. */
  holders(timeoutMs: number): Promise<readonly WorkerHolder[]>
}

export type WorkerIdPlugin = Plugin<WorkerIdDriver> & { readonly capability: 'workerid' }
