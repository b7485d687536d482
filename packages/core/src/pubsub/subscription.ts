import { MultinodeError } from '../errors/multinode-error.ts'
import { reasonOf } from '../errors/to-driver-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import type { Timer } from '../runtime/clock.ts'
import { withDeadline } from '../runtime/deadline.ts'
import type { Gap, GapReason } from './pubsub-driver.ts'

export interface Signal<T = unknown> {
  readonly topic: string
  /** The same object for all subscriptions of this node. */
  readonly payload: T
  readonly key: string | undefined
  /** Who published it. */
  readonly from: { readonly nodeId: string; readonly incarnation: string }
}

export type SignalHandler<T = unknown> = (signal: Signal<T>) => void | Promise<void>
/** Refetches what the signals are about; delivery goes on when it has resolved. */
export type GapHandler = (gap: Gap) => void | Promise<void>

export interface SubscriptionSettings {
  readonly pattern: string
  readonly handler: SignalHandler
  readonly onGap: GapHandler | 'ignore'
  readonly self: 'skip' | 'include' | 'only'
  readonly overflow: 'gap' | 'coalesce' | 'block'
  readonly coalesceMs: number
  readonly maxQueue: number
  readonly gapTimeoutMs: number
}

export interface SubscriptionCounts {
  handled: number
  failed: number
  gaps: number
}

interface Queued {
  signal: Signal
  readonly dueMs: number
}

const firstRetryMs = 1_000
const longestRetryMs = 30_000

/** Signals of one pattern on their way to one handler: one at a time, in order, at most `maxQueue` waiting. */
export class Subscription implements AsyncDisposable {
  readonly pattern: string
  readonly #settings: SubscriptionSettings
  readonly #context: CapabilityContext
  readonly #counts: SubscriptionCounts
  readonly #onClose: (subscription: Subscription) => void
  readonly #queue: (Queued | { readonly gap: Gap })[] = []
  #isClosed = false
  #running: Promise<void> | undefined
  /** Ends the pause for the next signal that is due. */
  #wake: (() => void) | undefined
  #onRoom: (() => void) | undefined

  constructor(
    settings: SubscriptionSettings,
    context: CapabilityContext,
    counts: SubscriptionCounts,
    onClose: (subscription: Subscription) => void,
  ) {
    this.pattern = settings.pattern
    this.#settings = settings
    this.#context = context
    this.#counts = counts
    this.#onClose = onClose
  }

  /** How many signals wait for the handler. */
  get waiting(): number {
    return this.#queue.length
  }

  /**
   * No signal is handled after this; resolves when the one that is being handled is done, at the latest after `callTimeoutMs`. Idempotent. A handler that closes its
   * own subscription must not await that: it would wait for itself.
   */
  async close(): Promise<void> {
    this.#end()
    await this.finished(this.#context.callTimeoutMs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** For the owner: no signal is taken after this. @returns whether the handler was done in time */
  async finished(deadlineMs: number): Promise<boolean> {
    this.#end()
    if (this.#running === undefined) return true
    const late = new MultinodeError('TIMEOUT', `The handler of ${this.pattern} was not done in time.`)
    return withDeadline(this.#context.clock, deadlineMs, this.#running, () => late).then(
      () => true,
      () => false,
    )
  }

  /** For the owner: whether a signal of this node, or of another one, is wanted. */
  wants(isOwn: boolean): boolean {
    const { self } = this.#settings
    return self === 'include' || isOwn === (self === 'only')
  }

  /** For the owner. Resolves when there is room for the next one, which is at once unless `overflow` is `block`. */
  offer(signal: Signal): Promise<void> | undefined {
    if (this.#isClosed || this.#replaced(signal)) return undefined
    const { coalesceMs, maxQueue, overflow } = this.#settings
    const isFull = this.#queue.length >= maxQueue
    if (isFull && overflow !== 'block') this.#overflow()
    this.#queue.push({ signal, dueMs: this.#context.clock.monotonicMs() + coalesceMs })
    this.#start()
    if (overflow !== 'block' || this.#queue.length < maxQueue) return undefined
    return new Promise((resolve) => {
      const before = this.#onRoom
      this.#onRoom = () => {
        before?.()
        resolve()
      }
    })
  }

  /** For the owner: signals may be missing between those before and those after. */
  gap(gap: Gap): void {
    if (this.#isClosed) return
    const last = this.#queue.at(-1)
    if (last !== undefined && 'gap' in last)
      this.#queue[this.#queue.length - 1] = { gap: joined(last.gap, gap) }
    else this.#queue.push({ gap })
    this.#start()
  }

  /** The last one of a key wins, and takes the place of the first. */
  #replaced(signal: Signal): boolean {
    const { overflow, coalesceMs } = this.#settings
    if (signal.key === undefined || (overflow !== 'coalesce' && coalesceMs === 0)) return false
    for (let index = this.#queue.length - 1; index >= 0; index -= 1) {
      const queued = this.#queue[index]
      // No later signal comes before a gap.
      if (queued === undefined || 'gap' in queued) return false
      if (queued.signal.key !== signal.key || queued.signal.topic !== signal.topic) continue
      queued.signal = signal
      return true
    }
    return false
  }

  /** What waits is dropped, and the app is told instead. */
  #overflow(): void {
    let gap: Gap = { reason: 'overflow', missed: 0 }
    for (const queued of this.#queue) {
      gap = 'gap' in queued ? joined(queued.gap, gap) : joined(gap, { reason: 'overflow', missed: 1 })
    }
    this.#queue.splice(0, this.#queue.length, { gap })
  }

  #end(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#queue.length = 0
    this.#onRoom?.()
    this.#wake?.()
    this.#onClose(this)
  }

  #start(): void {
    this.#wake?.()
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      if (this.#queue.length > 0 && !this.#isClosed) this.#start()
    })
  }

  /** Never rejects: what a handler throws is reported, and is a gap. */
  async #run(): Promise<void> {
    // Not in the turn of the driver, which is reading.
    await Promise.resolve()
    for (;;) {
      const next = this.#queue[0]
      if (next === undefined || this.#isClosed) return
      if ('gap' in next) {
        this.#queue.shift()
        await this.#tellGap(next.gap)
        continue
      }
      await this.#untilDue(next.dueMs)
      // It may have been dropped meanwhile, for a gap.
      if (this.#queue[0] !== next) continue
      this.#queue.shift()
      this.#makeRoom()
      await this.#handle(next.signal)
    }
  }

  async #handle(signal: Signal): Promise<void> {
    try {
      await this.#settings.handler(signal)
      this.#counts.handled += 1
    } catch (error) {
      this.#counts.failed += 1
      this.#report(`The handler of ${this.pattern} rejected a signal of ${signal.topic}`, error)
      if (!this.#isClosed) this.#queue.unshift({ gap: { reason: 'handler-failed', missed: 1 } })
    }
  }

  /** Until the app has refetched: nothing is delivered before. */
  async #tellGap(gap: Gap): Promise<void> {
    this.#counts.gaps += 1
    const { onGap, gapTimeoutMs } = this.#settings
    if (onGap === 'ignore') return
    for (let retryMs = firstRetryMs; !this.#isClosed; retryMs = Math.min(longestRetryMs, retryMs * 2)) {
      try {
        const late = new MultinodeError(
          'TIMEOUT',
          `onGap was not done within ${gapTimeoutMs} ms (gapTimeoutMs).`,
        )
        const told = Promise.resolve(gap).then(onGap)
        await withDeadline(this.#context.clock, gapTimeoutMs, told, () => late)
        return
      } catch (error) {
        this.#report(
          `onGap of ${this.pattern} failed, and is called again in ${retryMs} ms; until then nothing is delivered`,
          error,
        )
        await this.#sleep(retryMs)
      }
    }
  }

  async #untilDue(dueMs: number): Promise<void> {
    const waitMs = dueMs - this.#context.clock.monotonicMs()
    if (waitMs > 0)
      await this.#sleep(waitMs, () => this.#isClosed || this.#queue.length >= this.#settings.maxQueue)
  }

  /** Ends early when closed. */
  async #sleep(ms: number, isOver: () => boolean = () => this.#isClosed): Promise<void> {
    if (isOver()) return
    await new Promise<void>((resolve) => {
      let timer: Timer | undefined
      const end = (): void => {
        timer?.cancel()
        this.#wake = undefined
        resolve()
      }
      timer = this.#context.clock.setTimer(end, ms, 'background')
      this.#wake = () => {
        if (isOver()) end()
      }
    })
  }

  #makeRoom(): void {
    if (this.#queue.length >= this.#settings.maxQueue) return
    this.#onRoom?.()
    this.#onRoom = undefined
  }

  #report(what: string, cause: unknown): void {
    this.#context.report(
      new MultinodeError('REJECTED', `${what}: ${reasonOf(cause)}`, {
        cause,
        capability: 'pubsub',
        backend: this.#context.backend,
        details: { pattern: this.pattern },
      }),
    )
  }
}

function joined(first: Gap, second: Gap): Gap {
  const reason: GapReason = first.reason
  const isKnown = first.missed !== undefined && second.missed !== undefined
  return { reason, missed: isKnown ? (first.missed ?? 0) + (second.missed ?? 0) : undefined }
}
