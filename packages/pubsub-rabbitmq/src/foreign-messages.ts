import type { Clock } from '@multinode/core'

const betweenReportsMs = 1_000

/** Tells of messages that no node has published. Whoever does may publish thousands: one a second says it all. */
export class ForeignMessages {
  readonly #clock: Clock
  readonly #report: (error: unknown) => void
  #toldAtMs = -Infinity

  constructor(clock: Clock, report: (error: unknown) => void) {
    this.#clock = clock
    this.#report = report
  }

  tell(error: unknown): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#toldAtMs < betweenReportsMs) return
    this.#toldAtMs = nowMs
    this.#report(error)
  }
}
