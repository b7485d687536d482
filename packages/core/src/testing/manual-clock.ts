import type { Clock, Timer } from '../runtime/clock.ts'

interface PendingTimer {
  readonly dueMs: number
  readonly callback: () => void
}

/** A clock that stands still until it is moved: for tests that would otherwise sleep. */
export class ManualClock implements Clock {
  readonly #timers = new Set<PendingTimer>()
  #monotonicMs = 0
  #wallMs: number

  constructor(wallMs: number = Date.UTC(2026, 0, 1)) {
    this.#wallMs = wallMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  wallMs(): number {
    return this.#wallMs
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    const timer = { dueMs: this.#monotonicMs + delayMs, callback }
    this.#timers.add(timer)
    return { cancel: () => this.#timers.delete(timer) }
  }

  /** How many timers are set: for tests that nothing is left behind. */
  get pendingTimers(): number {
    return this.#timers.size
  }

  /** Both clocks go on by `ms`; timers fire in order, each at its time, with promises settled in between. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#monotonicMs + ms
    await settlePromises()
    for (;;) {
      const next = this.#nextDueBy(untilMs)
      if (next === undefined) break
      this.#timers.delete(next)
      this.#moveTo(next.dueMs)
      next.callback()
      await settlePromises()
    }
    this.#moveTo(untilMs)
  }

  /** The wall clock alone jumps, as when somebody sets it; no timer notices. */
  jumpWallClock(ms: number): void {
    this.#wallMs += ms
  }

  /** Both clocks go on, but no timer fires: a blocked event loop or a stopped process, until the next `advance`. */
  freeze(ms: number): void {
    this.#moveTo(this.#monotonicMs + ms)
  }

  #moveTo(monotonicMs: number): void {
    const ms = Math.max(0, monotonicMs - this.#monotonicMs)
    this.#monotonicMs += ms
    this.#wallMs += ms
  }

  #nextDueBy(untilMs: number): PendingTimer | undefined {
    let next: PendingTimer | undefined
    for (const timer of this.#timers) {
      if (timer.dueMs <= untilMs && (next === undefined || timer.dueMs < next.dueMs)) next = timer
    }
    return next
  }
}

/** One turn of the event loop, in which all promises that can settle do. */
function settlePromises(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
