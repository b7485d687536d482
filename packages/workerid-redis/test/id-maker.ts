import { setTimeout as sleep } from 'node:timers/promises'
import { isMultinodeError, MultinodeError, type TimestampWindow } from '@multinode/core'

const sequences = 16
const workers = 64
const epochMs = Date.UTC(2025, 0)

/** What makes ids without a window, as most libraries do: whenever it is asked. */
export const noWindow: TimestampWindow = { floor: () => 0, ceiling: () => Infinity, used: () => {} }

/**
 * The smallest generator that does as a window says. Its layout has few ids for a millisecond, so that it soon runs ahead; sequences begin at 0,
 * so that two who use one millisecond of one worker make the same id.
 */
export class IdMaker implements AsyncDisposable {
  /** All that were made. */
  readonly ids: number[] = []
  /** How often the window had no room. */
  exhausted = 0
  readonly #worker: number
  readonly #window: TimestampWindow
  #lastMs = 0
  #sequence = 0
  #isStopped = false
  #working: Promise<void> | undefined

  constructor(worker: number, window: TimestampWindow) {
    this.#worker = worker
    this.#window = window
  }

  /** The highest timestamp that was used. */
  get lastMs(): number {
    return this.#lastMs
  }

  /** @throws `EXHAUSTED` when its window has no room */
  make(): number {
    const ceilingMs = this.#window.ceiling()
    const nowMs = Math.max(Date.now(), this.#window.floor(), this.#lastMs)
    const isFull = nowMs === this.#lastMs && this.#sequence === sequences
    const tickMs = isFull ? nowMs + 1 : nowMs
    if (tickMs > ceilingMs) throw new MultinodeError('EXHAUSTED', `No id above ${ceilingMs}.`)
    if (tickMs > this.#lastMs) {
      this.#window.used(tickMs)
      this.#lastMs = tickMs
      this.#sequence = 0
    }
    const id = ((tickMs - epochMs) * workers + this.#worker) * sequences + this.#sequence
    this.#sequence += 1
    this.ids.push(id)
    return id
  }

  /** As many as there is room for, at most so many. */
  makeSome(most: number): void {
    try {
      for (let count = 0; count < most; count += 1) this.make()
    } catch (error) {
      if (!isMultinodeError(error) || error.code !== 'EXHAUSTED') throw error
      this.exhausted += 1
    }
  }

  /** Goes on making so many each turn, until it is stopped or its worker id is over. */
  start(most: number): this {
    this.#working = this.#work(most)
    return this
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#working
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #work(most: number): Promise<void> {
    try {
      for (; !this.#isStopped; await sleep(2)) this.makeSome(most)
    } catch (error) {
      if (!isMultinodeError(error) || !['LOST', 'NOT_OWNED'].includes(error.code)) throw error
    }
  }
}

/** More each turn than there are of a millisecond: the timestamps run ahead to the ceiling. */
export const flatOut = 2_000

/** What an app does that needs ids now and then. */
export const gently = 20

export function timestampOf(id: number): number {
  return Math.floor(id / (workers * sequences)) + epochMs
}

/** How many of the ids were made before. */
export function duplicatesAmong(...lists: readonly (readonly number[])[]): number {
  const all = Float64Array.from(lists.flat()).sort()
  return all.filter((id, index) => id === all[index - 1]).length
}
