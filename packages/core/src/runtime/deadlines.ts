import type { Clock } from './clock.ts'

/** A call that is under way. */
export interface PendingCall {
  isOver: boolean
}

interface Entry extends PendingCall {
  readonly atMs: number
  readonly expire: () => void
  next: Entry | undefined
}

/**
 * The deadlines of many calls, on one timer for each length: a timer that is set and cleared for every single call costs more than what the rest of
 * a cheap one does. Calls of one length expire in the order in which they began.
 *
 * The timers do not keep the process alive: what a call waits for does.
 */
export class Deadlines {
  readonly #clock: Clock
  readonly #lines = new Map<number, Line>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Calls `expire` after `timeoutMs`, unless `isOver` is set before. */
  begin(timeoutMs: number, expire: () => void): PendingCall {
    let line = this.#lines.get(timeoutMs)
    if (line === undefined) {
      line = new Line(this.#clock, timeoutMs, () => this.#lines.delete(timeoutMs))
      this.#lines.set(timeoutMs, line)
    }
    return line.add(expire)
  }
}

class Line {
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #onEmpty: () => void
  #first: Entry | undefined
  #last: Entry | undefined

  constructor(clock: Clock, timeoutMs: number, onEmpty: () => void) {
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#onEmpty = onEmpty
    this.#wake(timeoutMs)
  }

  add(expire: () => void): Entry {
    const atMs = this.#clock.monotonicMs() + this.#timeoutMs
    const entry: Entry = { isOver: false, atMs, expire, next: undefined }
    this.#dropOver()
    if (this.#last === undefined) this.#first = entry
    else this.#last.next = entry
    this.#last = entry
    return entry
  }

  #wake(delayMs: number): void {
    this.#clock.setTimer(() => this.#expireDue(), delayMs, 'background')
  }

  #expireDue(): void {
    const nowMs = this.#clock.monotonicMs()
    for (let entry = this.#dropOver(); entry !== undefined && entry.atMs <= nowMs; entry = this.#dropOver()) {
      entry.isOver = true
      entry.expire()
    }
    if (this.#first === undefined) this.#onEmpty()
    else this.#wake(Math.max(1, Math.ceil(this.#first.atMs - nowMs)))
  }

  /** @returns the first that is not over */
  #dropOver(): Entry | undefined {
    while (this.#first?.isOver) this.#first = this.#first.next
    if (this.#first === undefined) this.#last = undefined
    return this.#first
  }
}
