import type { CacheSpace } from './cache-driver.ts'

/** What makes entries of a namespace invalid. */
export type Invalidation =
  | { readonly keys: readonly string[] }
  | { readonly tags: readonly string[] }
  | { readonly clear: true }

/** A namespace as the backend of the cache needs it: one object for each namespace, the same in every call. */
export interface InvalidationTarget {
  readonly space: CacheSpace
  /**
   * An invalidation that was deferred is done now: time to tell the other nodes again. Several may have become one, and too many keys or tags a clear.
   * What it throws is reported.
   */
  readonly onReplayed: (what: Invalidation) => void
}

/** An invalidation that the backend does not know of yet. */
export interface UnsaidInvalidation {
  readonly target: InvalidationTarget
  readonly what: Invalidation
}

interface Backlog {
  readonly keys: Set<string>
  readonly tags: Set<string>
  isClear: boolean
}

const mostItems = 10_000
const mostCharacters = 4 * 1_048_576
/** Of one call. */
const mostInBatch = 1_000

/**
 * The invalidations that wait for the backend, by namespace, those that began to wait first in front. Each can be said twice without harm, and in
 * any order, so what is there twice is kept once. At most 10,000 keys and tags and 4 Mi characters of them: the namespace that has one more is cleared instead.
 */
export class Unsaid {
  readonly #backlogs = new Map<InvalidationTarget, Backlog>()
  #size = 0
  #characters = 0

  /** How many keys, tags and clears wait. */
  get size(): number {
    return this.#size
  }

  add(target: InvalidationTarget, what: Invalidation): void {
    let backlog = this.#backlogs.get(target)
    if (backlog === undefined) {
      backlog = { keys: new Set(), tags: new Set(), isClear: false }
      this.#backlogs.set(target, backlog)
    }
    if (backlog.isClear) return
    if ('clear' in what) return this.#makeClear(backlog)
    if ('keys' in what) this.#put(backlog.keys, what.keys)
    else this.#put(backlog.tags, what.tags)
    if (this.#size > mostItems || this.#characters > mostCharacters) this.#makeClear(backlog)
  }

  /** Removes a batch: whoever takes it says it, or adds it again. */
  take(): UnsaidInvalidation | undefined {
    const [first] = this.#backlogs
    if (first === undefined) return undefined
    const [target, backlog] = first
    const what = this.#takeFrom(backlog)
    if (backlog.keys.size === 0 && backlog.tags.size === 0) this.#backlogs.delete(target)
    return { target, what }
  }

  #takeFrom(backlog: Backlog): Invalidation {
    if (backlog.isClear) {
      this.#size -= 1
      return { clear: true }
    }
    if (backlog.tags.size > 0) return { tags: this.#remove(backlog.tags) }
    return { keys: this.#remove(backlog.keys) }
  }

  #put(items: Set<string>, more: readonly string[]): void {
    for (const item of more) {
      if (items.has(item)) continue
      items.add(item)
      this.#size += 1
      this.#characters += item.length
    }
  }

  #remove(items: Set<string>, most = mostInBatch): string[] {
    const batch: string[] = []
    for (const item of items) {
      if (batch.length === most) break
      batch.push(item)
      items.delete(item)
      this.#characters -= item.length
    }
    this.#size -= batch.length
    return batch
  }

  #makeClear(backlog: Backlog): void {
    this.#remove(backlog.keys, Infinity)
    this.#remove(backlog.tags, Infinity)
    backlog.isClear = true
    this.#size += 1
  }
}
