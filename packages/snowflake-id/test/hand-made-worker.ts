import type { TimestampWindow, WorkerSource } from '../src/index.ts'

/** A lease whose bounds the test moves; notes what it is told and asked. */
export class HandMadeWorker implements WorkerSource {
  readonly id: number
  floorMs = 0
  ceilingMs = Infinity
  /** Thrown by `ceiling()`. */
  over: Error | undefined
  claims = 0
  asked = 0
  readonly used: number[] = []

  constructor(id = 3) {
    this.id = id
  }

  claim(): TimestampWindow {
    this.claims += 1
    return {
      floor: () => this.floorMs,
      ceiling: () => {
        this.asked += 1
        if (this.over !== undefined) throw this.over
        return this.ceilingMs
      },
      used: (timestampMs) => this.used.push(timestampMs),
    }
  }
}
