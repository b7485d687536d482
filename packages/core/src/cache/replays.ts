import { isMultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import type { Timer } from '../runtime/clock.ts'
import { withDeadline } from '../runtime/deadline.ts'
import { randomBetween } from '../runtime/random.ts'
import { type Invalidation, type InvalidationTarget, Unsaid, type UnsaidInvalidation } from './unsaid.ts'

export interface ReplayParts {
  readonly context: CapabilityContext
  /** Whether it is worth a try now; if not, {@link Replays.wake} is called when it is. */
  readonly mayTry: () => boolean
  readonly say: (unsaid: UnsaidInvalidation) => Promise<void>
}

const firstBackoffMs = 50
const longestBackoffMs = 1_000

/** Says again what the backend did not hear, until it is done. */
export class Replays {
  readonly #parts: ReplayParts
  readonly #unsaid = new Unsaid()
  #underWay: UnsaidInvalidation | undefined
  #isRunning = false
  #isEnded = false
  #isRefused = false
  #backoffMs = firstBackoffMs
  #timer: Timer | undefined
  #replayed = 0
  #onEmpty: (() => void) | undefined

  constructor(parts: ReplayParts) {
    this.#parts = parts
  }

  /** How many keys, tags and clears wait, or are being said. */
  get size(): number {
    return this.#unsaid.size + (this.#underWay === undefined ? 0 : countOf(this.#underWay.what))
  }

  /** How many were said so far. */
  get replayed(): number {
    return this.#replayed
  }

  /** For {@link drop}: what is kept after this is later. */
  get moment(): number {
    return this.#unsaid.moment
  }

  /** @param mayDrop whether {@link drop} may take keys away again */
  keep(target: InvalidationTarget, what: Invalidation, mayDrop: boolean): void {
    this.#unsaid.add(target, what, mayDrop)
    if (!this.#isRunning && this.#timer === undefined) this.#retryLater()
  }

  /** These keys need not be said any more if they were kept before `moment`. One that is being said just now is said all the same. */
  drop(target: InvalidationTarget, keys: readonly string[], moment: number): void {
    this.#unsaid.drop(target, keys, moment)
    if (!this.#isRunning) this.#endIfEmpty()
  }

  /** The backend is there again. */
  wake(): void {
    this.#stopTimer()
    this.#backoffMs = firstBackoffMs
    void this.#run()
  }

  /** Resolves when nothing waits any more, at the latest after `deadlineMs`. Never rejects. */
  async flush(deadlineMs: number): Promise<void> {
    if (this.size === 0) return
    const empty = new Promise<void>((resolve) => {
      const before = this.#onEmpty
      this.#onEmpty = () => {
        before?.()
        resolve()
      }
    })
    this.wake()
    await withDeadline(this.#parts.context.clock, deadlineMs, empty, () => new Error('late')).catch(() => {})
  }

  /** Nothing is said after this, but for what is under way. */
  end(): void {
    this.#isEnded = true
    this.#stopTimer()
  }

  /** One batch after the other. Never rejects. */
  async #run(): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    while (!this.#isEnded && this.#parts.mayTry()) {
      this.#underWay = this.#unsaid.take()
      if (this.#underWay === undefined) break
      const isSaid = await this.#say(this.#underWay)
      this.#underWay = undefined
      if (!isSaid) {
        this.#retryLater()
        break
      }
    }
    this.#isRunning = false
    this.#endIfEmpty()
  }

  #endIfEmpty(): void {
    if (this.size > 0) return
    this.#onEmpty?.()
    this.#onEmpty = undefined
  }

  async #say(unsaid: UnsaidInvalidation): Promise<boolean> {
    const { target, what } = unsaid
    try {
      await this.#parts.say(unsaid)
    } catch (error) {
      this.#unsaid.giveBack(unsaid)
      this.#reportRefusal(error)
      return false
    }
    this.#replayed += countOf(what)
    this.#isRefused = false
    this.#backoffMs = firstBackoffMs
    try {
      target.onReplayed(what)
    } catch (error) {
      this.#parts.context.report(error)
    }
    return true
  }

  /** A backend that is away is known of; one that refuses is trouble that somebody has to end. */
  #reportRefusal(error: unknown): void {
    if (this.#isRefused || (isMultinodeError(error) && error.retryable)) return
    this.#isRefused = true
    this.#parts.context.report(error)
  }

  #retryLater(): void {
    if (this.#isEnded) return
    const delayMs = randomBetween(Math.ceil(this.#backoffMs / 2), this.#backoffMs)
    this.#backoffMs = Math.min(longestBackoffMs, this.#backoffMs * 2)
    const retry = (): void => {
      this.#timer = undefined
      void this.#run()
    }
    this.#timer = this.#parts.context.clock.setTimer(retry, delayMs, 'background')
  }

  #stopTimer(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}

function countOf(what: Invalidation): number {
  if ('clear' in what) return 1
  return 'keys' in what ? what.keys.length : what.tags.length
}
