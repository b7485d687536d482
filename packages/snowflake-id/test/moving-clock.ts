/** A clock that stands still until it is set, and counts how often it is read. */
export class MovingClock {
  nowMs: number
  reads = 0

  constructor(nowMs: number = Date.UTC(2026, 0, 1)) {
    this.nowMs = nowMs
  }

  readonly read = (): number => {
    this.reads += 1
    return this.nowMs
  }
}
