import type { FireClaim, Locks } from '@multinode/core'
import type { CleanUpLog } from './clean-up-log.ts'

/** How long a node that is frozen in the middle of its turn keeps the others from the next one. */
const atMostMs = 5_000
/** Until a turn is asked for again that an earlier one is in the way of, or whose claim failed. */
const askAgainMs = 200
/** Older turns that this node slept through are left out, as the next one does their work. */
const catchUpMs = 60_000

export interface CleanUpParts {
  readonly log: CleanUpLog
  readonly locks: Locks
  readonly node: string
  /** The same on all nodes: turns are the multiples of it in wall time. */
  readonly everyMs: number
  /** Does the work, and gives up when the signal is aborted. @returns how many files it removed */
  readonly removeAbandoned: (signal: AbortSignal) => Promise<number>
  readonly report: (message: string) => void
}

/**
 * The clean-up that one node of the cluster does at each turn. All nodes wait for the same points in time and claim them by
 * the point itself, not by the moment at which their timer fired: so timers that are late and clocks that differ do not repeat
 * a turn. Each node asks for every turn since it began, in order; whoever asks first has it. One may be left out when a node that
 * has just begun has the next one before any of the others, which are late, has asked for it: the next one does its work.
 */
export class CleanUp {
  readonly #parts: CleanUpParts
  #stopped = false
  #endPause: (() => void) | undefined
  #lastTrouble: string | undefined

  constructor(parts: CleanUpParts) {
    this.#parts = parts
  }

  /** To be called once. */
  start(): void {
    void this.#run()
  }

  /** Takes no further turn. One that is under way is finished: its lease tells `cluster.drain()` when. */
  stop(): void {
    this.#stopped = true
    this.#endPause?.()
  }

  /** Never rejects: trouble is reported, and after a pause comes the next try. */
  async #run(): Promise<void> {
    const { everyMs } = this.#parts
    let scheduledAtMs = lastTurn(everyMs) + everyMs
    while (!this.#stopped) {
      const untilTurnMs = scheduledAtMs - Date.now()
      // In steps, because the clock may be set meanwhile.
      if (untilTurnMs > 0) await this.#pause(Math.min(untilTurnMs, everyMs))
      else if (!(await this.#settleOrReport(scheduledAtMs))) await this.#pause(askAgainMs)
      else scheduledAtMs = Math.max(scheduledAtMs + everyMs, lastTurn(everyMs) - catchUpMs)
    }
  }

  /** @returns whether this turn is somebody's, so that the next one can be waited for */
  async #settleOrReport(scheduledAtMs: number): Promise<boolean> {
    try {
      const claim = await this.#parts.locks.claimFire('clean-up', scheduledAtMs, { atMostMs })
      if (claim.status !== 'run') return claim.status === 'duplicate'
      await this.#cleanUp(scheduledAtMs, claim)
      this.#lastTrouble = undefined
      return true
    } catch (error) {
      this.#reportOnce(`The clean-up failed: ${error instanceof Error ? error.message : String(error)}`)
      return false
    }
  }

  async #cleanUp(scheduledAtMs: number, claim: FireClaim & { status: 'run' }): Promise<void> {
    const { log, node, removeAbandoned } = this.#parts
    try {
      const removed = await removeAbandoned(claim.lease.signal)
      log.add({ scheduledAt: new Date(scheduledAtMs), node, token: claim.token, removed })
    } finally {
      await claim.done()
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stopped) return resolve()
      const timer = setTimeout(resolve, ms)
      this.#endPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** A broker that is away is the same news at every turn. */
  #reportOnce(message: string): void {
    if (message !== this.#lastTrouble && !this.#stopped) this.#parts.report(message)
    this.#lastTrouble = message
  }
}

function lastTurn(everyMs: number): number {
  return Math.floor(Date.now() / everyMs) * everyMs
}
