import { withDeadline } from '../runtime/deadline.ts'
import type { Timer } from '../runtime/clock.ts'
import { lateLoad, Load, type Loaded, type LoadRequest } from './load.ts'
import type { SpaceParts } from './space-parts.ts'
import type { Invalidation } from './unsaid.ts'

/** All values of one namespace that this process looks for or makes: one at a time for each key, whoever asks. */
export class Loads<T> {
  readonly #parts: SpaceParts<T>
  /** Those that can be joined. */
  #open = new Map<string, Load<T>>()
  readonly #running = new Set<Load<T>>()
  #onEmpty: (() => void) | undefined

  constructor(parts: SpaceParts<T>) {
    this.#parts = parts
  }

  /** How many values are looked for or made. */
  get running(): number {
    return this.#running.size
  }

  load(request: LoadRequest<T>): Promise<T | undefined> {
    const { key, settings } = request
    const { softTimeoutMs, hardTimeoutMs } = settings
    let load = this.#open.get(key)
    if (load === undefined || load.isAborted) load = this.#start(request)
    load.allow(hardTimeoutMs)
    return new Caller(this.#parts, load, softTimeoutMs, hardTimeoutMs).answer
  }

  /** Nobody joins what was begun before: who asks now must not get what is old. */
  invalidate(what: Invalidation): void {
    if ('tags' in what) return this.#invalidateTags(what.tags)
    // A key has one that can be joined; those that were passed over before are invalidated already, or up to the backend.
    const concerned = 'clear' in what ? [...this.#running] : what.keys.map((key) => this.#open.get(key))
    for (const load of concerned) {
      if (load === undefined) continue
      load.markInvalidated()
      this.#open.delete(load.key)
    }
  }

  /** Something may have been invalidated: as {@link invalidate}, but the backend decides what is stored. */
  lose(): void {
    this.#open = new Map()
  }

  /** Resolves when nothing runs, at the latest after `deadlineMs`. */
  async finished(deadlineMs: number): Promise<number> {
    if (this.#running.size > 0) {
      const empty = new Promise<void>((resolve) => {
        const before = this.#onEmpty
        this.#onEmpty = () => {
          before?.()
          resolve()
        }
      })
      await withDeadline(this.#parts.context.clock, deadlineMs, empty, () => new Error('late')).catch(
        () => {},
      )
    }
    return this.#running.size
  }

  /** All who wait are told `reason`. Never rejects. */
  async close(reason: Error): Promise<void> {
    this.#open.clear()
    await Promise.all([...this.#running].map((load) => load.close(reason)))
  }

  #start(request: LoadRequest<T>): Load<T> {
    const load = new Load(this.#parts, request)
    this.#open.set(load.key, load)
    this.#running.add(load)
    const end = (): void => {
      if (this.#open.get(load.key) === load) this.#open.delete(load.key)
      this.#running.delete(load)
      if (this.#running.size > 0) return
      this.#onEmpty?.()
      this.#onEmpty = undefined
    }
    load.result.then(end, end)
    return load
  }

  /** One that still searches may find what is invalid now; what it makes is up to the backend. */
  #invalidateTags(tags: readonly string[]): void {
    for (const load of this.#running) {
      const isConcerned = load.concernedBy(tags)
      if (isConcerned === true) load.markInvalidated()
      if (isConcerned !== false && this.#open.get(load.key) === load) this.#open.delete(load.key)
    }
  }
}

/** One who waits for a value, for as long as it said. */
class Caller<T> {
  readonly answer: Promise<T | undefined>
  readonly #parts: SpaceParts<T>
  readonly #load: Load<T>
  readonly #timers: Timer[] = []
  #isAnswered = false
  #resolve: (value: T | undefined) => void = () => {}
  #reject: (error: unknown) => void = () => {}

  constructor(
    parts: SpaceParts<T>,
    load: Load<T>,
    softTimeoutMs: number | undefined,
    hardTimeoutMs: number | undefined,
  ) {
    this.#parts = parts
    this.#load = load
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    load.result.then(
      (loaded) => this.#take(loaded),
      (error: unknown) => this.#fail(error),
    )
    if (softTimeoutMs !== undefined) this.#after(softTimeoutMs, () => this.#beContent())
    if (hardTimeoutMs !== undefined) this.#after(hardTimeoutMs, () => this.#giveUp(hardTimeoutMs))
  }

  #after(delayMs: number, act: () => void): void {
    if (delayMs === 0) act()
    else this.#timers.push(this.#parts.context.clock.setTimer(act, delayMs, 'foreground'))
  }

  /** With the stale value, as soon as it is known. */
  #beContent(): void {
    const { stale } = this.#load
    if (stale !== undefined) this.#take({ value: stale.value, from: 'stale' })
    else this.#load.whenStale(() => this.#beContent())
  }

  #giveUp(hardTimeoutMs: number): void {
    const { stale } = this.#load
    if (stale !== undefined) this.#take({ value: stale.value, from: 'stale' })
    else this.#fail(lateLoad(this.#parts, this.#load.key, hardTimeoutMs))
  }

  #take({ value, from }: Loaded<T>): void {
    if (!this.#end()) return
    const { stats } = this.#parts
    if (from === 'backend') stats.remoteHits += 1
    else if (from === 'stale') stats.staleHits += 1
    else stats.misses += 1
    this.#resolve(value)
  }

  #fail(error: unknown): void {
    if (this.#end()) return this.#reject(error)
  }

  #end(): boolean {
    if (this.#isAnswered) return false
    this.#isAnswered = true
    for (const timer of this.#timers) timer.cancel()
    return true
  }
}
