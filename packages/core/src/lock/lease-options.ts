export interface TryAcquireOptions {
  /** How long the lease lasts unless extended, in ms. Default 30,000; at least 10. */
  readonly ttlMs?: number
}

export interface AcquireOptions extends TryAcquireOptions {
  /** How long to wait while others hold the lock, in ms. Default 10,000; 0 asks once. */
  readonly waitMs?: number
  /** Ends the waiting (`ABORTED`) and leaves nothing behind in the queue. Has no effect once the lock is held. */
  readonly signal?: AbortSignal
}

export const acquireOptionNames: readonly (keyof AcquireOptions)[] = ['ttlMs', 'waitMs', 'signal']
export const defaultTtlMs = 30_000
export const defaultWaitMs = 10_000
