import { invalid } from './check.ts'
import { type Format, startOf } from './layout.ts'
import { SnowflakeError } from './snowflake-error.ts'
import type { Window } from './worker-source.ts'

/** Consecutive ids of one tick. */
export interface Run {
  readonly tick: number
  /** Of the first one. */
  readonly sequence: number
  readonly count: number
}

/** A renewal may come at any moment, and does not say so. */
const lookForRenewalMs = 100

/**
 * Which tick and which sequence the next id has. Never goes back, and never to a tick outside of the window: all else (the clock was set
 * back, jumped, stands still, more ids than a tick has) follows from that.
 */
export class Ticks {
  readonly #format: Format
  readonly #window: Window
  /** None: `Date.now`, which the compiler knows only where it stands in full. */
  readonly #clock: (() => number) | undefined
  /** Of the format; here, because every id asks for it. */
  readonly #sequences: number
  #tick = -1
  /** Of the next id in this tick. At first as if a tick were full. */
  #sequence: number
  /** The reading at which the tick was chosen: as long as the clock says the same, the tick stays. NaN: none. */
  #settledMs = NaN
  #nowMs = -Infinity
  /** By how much the clock was set back since it last was at the tick: ids go on at its rate, from where they were. */
  #setBackMs = 0

  constructor(format: Format, window: Window, clock: (() => number) | undefined) {
    this.#format = format
    this.#window = window
    this.#clock = clock
    this.#sequences = format.sequences
    this.#sequence = format.sequences
  }

  /** That of the last id. */
  get tick(): number {
    return this.#tick
  }

  get driftMs(): number {
    return this.#tick < 0 ? 0 : Math.max(0, startOf(this.#format, this.#tick) - this.#nowMs)
  }

  /** The sequence of one id; 0 exactly when it is the first of {@link tick}. */
  take(): number {
    const nowMs = this.#clock === undefined ? Date.now() : this.#clock()
    if (nowMs !== this.#settledMs || this.#sequence === this.#sequences) this.#settle(nowMs)
    const sequence = this.#sequence
    this.#sequence = sequence + 1
    return sequence
  }

  /** As {@link take}, for many: all of them or none. */
  takeMany(count: number): Run[] {
    const nowMs = this.#clock === undefined ? Date.now() : this.#clock()
    const clockTick = this.#observe(nowMs)
    const sequences = this.#sequences
    const here = clockTick > this.#tick ? 0 : Math.min(count, sequences - this.#sequence)
    const runs: Run[] = here === 0 ? [] : [{ tick: this.#tick, sequence: this.#sequence, count: here }]
    let left = count - here
    if (left > 0) {
      let tick = this.#openTicks(clockTick, Math.ceil(left / sequences))
      for (; left > 0; left -= sequences, tick += 1) {
        this.#window.used(startOf(this.#format, tick))
        runs.push({ tick, sequence: 0, count: Math.min(left, sequences) })
      }
    }
    const last = runs[runs.length - 1]
    if (last !== undefined) {
      this.#tick = last.tick
      this.#sequence = last.sequence + last.count
    }
    this.#settledMs = nowMs
    return runs
  }

  /** Chooses the tick for a reading of the clock that is new, or goes on from one that is full. */
  #settle(nowMs: number): void {
    const clockTick = this.#observe(nowMs)
    const isNew = clockTick > this.#tick
    if (isNew && this.#window.maxAheadMs !== undefined && clockTick <= this.#format.maxTick) {
      // The usual case, without a question: nobody else has a say in the tick of the clock.
      this.#tick = clockTick
      this.#sequence = 0
    } else if (isNew || this.#sequence === this.#sequences) {
      const tick = this.#openTicks(clockTick, 1)
      this.#window.used(startOf(this.#format, tick))
      this.#tick = tick
      this.#sequence = 0
    }
    this.#settledMs = nowMs
  }

  /** The tick of the clock. Until the call has succeeded, the next one looks anew. */
  #observe(nowMs: number): number {
    this.#settledMs = NaN
    if (!Number.isFinite(nowMs)) throw invalid('clock()', nowMs, 'a number of ms since 1970')
    if (nowMs < this.#nowMs) this.#setBackMs += this.#nowMs - nowMs
    this.#nowMs = nowMs
    const { epochMs, unitMs } = this.#format
    const clockTick = Math.floor((nowMs - epochMs) / unitMs)
    if (clockTick < 0 && this.#tick < 0) throw this.#beforeEpoch()
    if (clockTick >= this.#tick) this.#setBackMs = 0
    return clockTick
  }

  /** The first of so many new ticks, all of which may be used. */
  #openTicks(clockTick: number, ticks: number): number {
    const { epochMs, unitMs, maxTick } = this.#format
    const floorTick = Math.ceil((this.#window.floor() - epochMs) / unitMs)
    const first = Math.max(clockTick, this.#tick + 1, floorTick)
    const last = first + ticks - 1
    if (last > maxTick) throw this.#timeIsOver()
    const ceilingMs = this.#window.ceiling(this.#nowMs + this.#setBackMs)
    if (startOf(this.#format, last) > ceilingMs) throw this.#exhausted(clockTick, last, ceilingMs, ticks)
    return first
  }

  #exhausted(clockTick: number, last: number, ceilingMs: number, ticks: number): SnowflakeError {
    const { maxAheadMs, workerId } = this.#window
    const { unitMs, sequences } = this.#format
    const missingMs = Math.max(1, Math.ceil(startOf(this.#format, last) - ceilingMs))
    const details = { workerId, ceilingMs, nowMs: this.#nowMs }
    if (maxAheadMs === undefined) {
      const reason =
        startOf(this.#format, clockTick) > ceilingMs
          ? `the lease of worker id ${workerId} was not renewed: it ends at ${timeOf(ceilingMs)}, and the clock says ${timeOf(this.#nowMs)}`
          : `all ids up to ${timeOf(ceilingMs)}, where the lease of worker id ${workerId} ends, are given out or too few`
      const retryAfterMs = Math.min(missingMs, lookForRenewalMs)
      return new SnowflakeError('EXHAUSTED', `No id is free: ${reason}.`, { ...details, retryAfterMs })
    }
    const most = (Math.floor((maxAheadMs + unitMs - 1) / unitMs) + 1) * sequences
    if (ticks * sequences > most) {
      throw new SnowflakeError(
        'TOO_LARGE',
        `So many ids are never free at once: at most ${most} are, with maxAheadMs ${maxAheadMs}.`,
        { ...details, most },
      )
    }
    return new SnowflakeError(
      'EXHAUSTED',
      `No id is free: those of the next ${maxAheadMs} ms are given out or too few, and this is as far as maxAheadMs lets worker id ${workerId} go.`,
      { ...details, retryAfterMs: missingMs },
    )
  }

  #timeIsOver(): SnowflakeError {
    const expiresAt = new Date(this.#format.expiresAtMs)
    return new SnowflakeError(
      'TOO_LARGE',
      `The time no longer fits into the layout: it ends at expiresAt, ${expiresAt.toISOString()}; the clock says ${timeOf(this.#nowMs)}.`,
      { expiresAt, nowMs: this.#nowMs },
    )
  }

  #beforeEpoch(): SnowflakeError {
    const { epochMs } = this.#format
    return new SnowflakeError(
      'CLOCK_SKEW',
      `The clock says ${timeOf(this.#nowMs)}, which is before the epoch, ${timeOf(epochMs)}.`,
      { nowMs: this.#nowMs, epochMs },
    )
  }
}

/** Clocks can say what a Date cannot. */
function timeOf(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString()
}
