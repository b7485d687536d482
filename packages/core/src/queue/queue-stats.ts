/** Counters of this node since start, of all its queues. */
export interface QueueStats {
  added: number
  completed: number
  /** Attempts whose handler rejected or took too long. */
  failed: number
  /** How often a job was told to come again. */
  retried: number
  dead: number
  expired: number
  lockLost: number
  settleIgnored: number
}

export function zeroStats(): QueueStats {
  return {
    added: 0,
    completed: 0,
    failed: 0,
    retried: 0,
    dead: 0,
    expired: 0,
    lockLost: 0,
    settleIgnored: 0,
  }
}
