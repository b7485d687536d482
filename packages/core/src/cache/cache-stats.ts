/** Counters of calls since start. */
export interface LoadStats {
  /** Values that came from this process. */
  localHits: number
  /** Values that came from the backend. */
  remoteHits: number
  /** Values that were served although they were not fresh. */
  staleHits: number
  misses: number
  factoryRuns: number
  factoryFailures: number
  /** How often a value was waited for that another node made. */
  leaseWaits: number
  /** Values that were made and not stored, because what they were made of was invalidated meanwhile. */
  refusedFills: number
  /** Writes and invalidations that the backend did not hear when they were asked for. */
  deferred: number
}

export function zeroLoadStats(): LoadStats {
  return {
    localHits: 0,
    remoteHits: 0,
    staleHits: 0,
    misses: 0,
    factoryRuns: 0,
    factoryFailures: 0,
    leaseWaits: 0,
    refusedFills: 0,
    deferred: 0,
  }
}
