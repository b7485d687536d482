import { LRUCache } from 'lru-cache'
import type { Clock } from '../runtime/clock.ts'
import type { LocalSettings } from './cache-options.ts'
import type { Invalidation } from './unsaid.ts'

/** A value of this process. */
export interface LocalEntry<T> {
  readonly value: T
  readonly tags: readonly string[]
  readonly epoch: number
  readonly sequence: number
  readonly putMs: number
  readonly freshUntilMs: number
  readonly keptUntilMs: number
}

/** What was so when a value was asked for; shared by all who ask for one key at the same time. */
export interface Mark {
  readonly key: string
  readonly epoch: number
  readonly sequence: number
  readers: number
  isSpoiled: boolean
}

export interface NewLocalEntry<T> {
  readonly value: T
  readonly tags: readonly string[]
  /** When it was asked for or stored: its times count from then. */
  readonly sinceMs: number
  readonly freshMs: number
  readonly keptMs: number
  /** Encoded. */
  readonly bytes: number
}

/** Invalidated tags that are remembered. */
const mostTags = 10_000

/**
 * The values of one namespace that this process keeps in front of the backend. Whatever is asked for from the backend is put here only if nothing that concerns it
 * was invalidated since it was asked for: a {@link Mark} is taken before, and given back with {@link end}. Clearing, and invalidating a tag, cost the same whatever is here.
 */
export class LocalEntries<T> {
  readonly #clock: Clock
  readonly #settings: LocalSettings | undefined
  /** Made by the first value, so that a namespace without any costs nothing. */
  #entries: LRUCache<string, LocalEntry<T>> | undefined
  readonly #invalidatedTags = new Map<string, number>()
  #marks = new Map<string, Mark>()
  /** Entries of an earlier one are not fresh. */
  #epoch = 0
  /** Entries of an earlier one are not there. */
  #keptEpoch = 0
  /** Counts invalidations of tags. */
  #sequence = 0
  #oldestMs = Infinity

  /** @param settings undefined: nothing is kept */
  constructor(settings: LocalSettings | undefined, clock: Clock) {
    this.#clock = clock
    this.#settings = settings
  }

  /** Whether anything is ever kept here. */
  get isOn(): boolean {
    return this.#settings !== undefined
  }

  /** For every hit, so it does as little as it can. */
  fresh(key: string): LocalEntry<T> | undefined {
    const entry = this.#entries?.get(key)
    if (entry === undefined || entry.epoch !== this.#epoch) return undefined
    const nowMs = this.#clock.monotonicMs()
    if (nowMs >= entry.freshUntilMs || nowMs - entry.putMs >= this.#oldestMs) return undefined
    return entry.tags.length === 0 || this.#hasValidTags(entry) ? entry : undefined
  }

  /** What may be served when nobody can say whether there is something newer: also what is not fresh any more. */
  kept(key: string): LocalEntry<T> | undefined {
    const entry = this.#entries?.peek(key)
    if (entry === undefined || entry.epoch < this.#keptEpoch) return undefined
    if (this.#clock.monotonicMs() >= entry.keptUntilMs || !this.#hasValidTags(entry)) return undefined
    return entry
  }

  begin(key: string): Mark {
    let mark = this.#marks.get(key)
    if (mark === undefined) {
      mark = { key, epoch: this.#epoch, sequence: this.#sequence, readers: 0, isSpoiled: false }
      // Where nothing is kept nobody looks for it.
      if (this.isOn) this.#marks.set(key, mark)
    }
    mark.readers += 1
    return mark
  }

  end(mark: Mark): void {
    mark.readers -= 1
    if (mark.readers === 0 && this.#marks.get(mark.key) === mark) this.#marks.delete(mark.key)
  }

  /** Whether nothing that may concern the key was invalidated since the mark was taken; any tag may. */
  isUntouched(mark: Mark): boolean {
    return !mark.isSpoiled && mark.epoch === this.#epoch && mark.sequence === this.#sequence
  }

  put(mark: Mark, { value, tags, sinceMs, freshMs, keptMs, bytes }: NewLocalEntry<T>): void {
    if (this.#settings === undefined || !this.isUntouched(mark)) return
    const { maxItems, maxBytes, ttlMs = Infinity, maxItemBytes = Infinity } = this.#settings
    const size = bytes + mark.key.length
    if (size > maxItemBytes || (maxBytes !== undefined && size > maxBytes)) {
      // What is there is older than what is not kept.
      this.#entries?.delete(mark.key)
      return
    }
    // With its own `max` it would reserve memory for all of them now.
    this.#entries ??= new LRUCache({ maxSize: maxBytes ?? maxItems })
    this.#entries.set(
      mark.key,
      {
        value,
        tags,
        epoch: mark.epoch,
        sequence: mark.sequence,
        putMs: sinceMs,
        freshUntilMs: sinceMs + Math.min(freshMs, ttlMs),
        keptUntilMs: sinceMs + keptMs,
      },
      { size: maxBytes === undefined ? 1 : size },
    )
    if (this.#entries.size > maxItems) this.#entries.pop()
  }

  invalidate(what: Invalidation): void {
    if ('clear' in what) this.#clear()
    else if ('keys' in what) for (const key of what.keys) this.#forget(key)
    else this.#invalidateTags(what.tags)
  }

  /** Something may have been invalidated that was not told: nothing here is fresh any more. */
  lose(): void {
    this.#epoch += 1
    this.#marks = new Map()
  }

  /** While invalidations may not arrive in time: nothing older than this is fresh. */
  limitAge(oldestMs: number): void {
    this.#oldestMs = oldestMs
  }

  #clear(): void {
    this.lose()
    this.#keptEpoch = this.#epoch
    this.#invalidatedTags.clear()
  }

  #forget(key: string): void {
    this.#entries?.delete(key)
    const mark = this.#marks.get(key)
    if (mark === undefined) return
    mark.isSpoiled = true
    this.#marks.delete(key)
  }

  #invalidateTags(tags: readonly string[]): void {
    this.#sequence += 1
    // Who asks from now on is not concerned, and who asked before puts nothing here.
    this.#marks = new Map()
    for (const tag of tags) this.#invalidatedTags.set(tag, this.#sequence)
    if (this.#invalidatedTags.size > mostTags) this.#clear()
  }

  #hasValidTags({ tags, sequence }: LocalEntry<T>): boolean {
    for (const tag of tags) if ((this.#invalidatedTags.get(tag) ?? 0) > sequence) return false
    return true
  }
}
