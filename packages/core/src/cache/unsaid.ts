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
  /** For {@link Unsaid.giveBack}: since when they wait. */
  readonly since: readonly number[]
}

/** Each with the moment since when it waits. */
type Waiting = Map<string, number>

interface Backlog {
  readonly keys: Waiting
  readonly tags: Waiting
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
  #moment = 0

  /** For {@link drop}: what is added after this is later. */
  get moment(): number {
    return this.#moment
  }

  /** How many keys, tags and clears wait. */
  get size(): number {
    return this.#size
  }

  /** @param mayDrop whether {@link drop} may take keys away again */
  add(target: InvalidationTarget, what: Invalidation, mayDrop: boolean = false): void {
    this.#moment += 1
    const since = mayDrop ? this.#moment : Infinity
    this.#add(target, what, () => since)
  }

  /** What was taken, and not said. */
  giveBack({ target, what, since }: UnsaidInvalidation): void {
    this.#add(target, what, (index) => since[index] ?? Infinity)
  }

  /** These keys need not be said if they wait since `moment` or longer; a clear is said all the same. */
  drop(target: InvalidationTarget, keys: readonly string[], moment: number): void {
    const backlog = this.#backlogs.get(target)
    if (backlog === undefined) return
    for (const key of keys) {
      const since = backlog.keys.get(key)
      if (since !== undefined && since <= moment) this.#removeOne(backlog.keys, key)
    }
    this.#forgetEmpty(target, backlog)
  }

  /** Removes a batch: whoever takes it says it, or adds it again. */
  take(): UnsaidInvalidation | undefined {
    const [first] = this.#backlogs
    if (first === undefined) return undefined
    const [target, backlog] = first
    const taken = this.#takeFrom(backlog)
    this.#forgetEmpty(target, backlog)
    return { target, ...taken }
  }

  #add(target: InvalidationTarget, what: Invalidation, sinceOf: (index: number) => number): void {
    let backlog = this.#backlogs.get(target)
    if (backlog === undefined) {
      backlog = { keys: new Map(), tags: new Map(), isClear: false }
      this.#backlogs.set(target, backlog)
    }
    if (backlog.isClear) return
    if ('clear' in what) return this.#makeClear(backlog)
    if ('keys' in what) this.#put(backlog.keys, what.keys, sinceOf)
    else this.#put(backlog.tags, what.tags, sinceOf)
    if (this.#size > mostItems || this.#characters > mostCharacters) this.#makeClear(backlog)
  }

  #takeFrom(backlog: Backlog): Omit<UnsaidInvalidation, 'target'> {
    if (backlog.isClear) {
      this.#size -= 1
      backlog.isClear = false
      return { what: { clear: true }, since: [] }
    }
    const isOfTags = backlog.tags.size > 0
    const batch = this.#remove(isOfTags ? backlog.tags : backlog.keys)
    const items = batch.map(([item]) => item)
    return { what: isOfTags ? { tags: items } : { keys: items }, since: batch.map(([, since]) => since) }
  }

  #put(items: Waiting, more: readonly string[], sinceOf: (index: number) => number): void {
    for (const [index, item] of more.entries()) {
      const before = items.get(item)
      items.set(item, Math.max(before ?? 0, sinceOf(index)))
      if (before !== undefined) continue
      this.#size += 1
      this.#characters += item.length
    }
  }

  #remove(items: Waiting, most = mostInBatch): [string, number][] {
    const batch: [string, number][] = []
    for (const item of items) {
      if (batch.length === most) break
      batch.push(item)
      this.#removeOne(items, item[0])
    }
    return batch
  }

  #removeOne(items: Waiting, item: string): void {
    items.delete(item)
    this.#size -= 1
    this.#characters -= item.length
  }

  #forgetEmpty(target: InvalidationTarget, backlog: Backlog): void {
    if (backlog.keys.size === 0 && backlog.tags.size === 0 && !backlog.isClear) this.#backlogs.delete(target)
  }

  #makeClear(backlog: Backlog): void {
    this.#remove(backlog.keys, Infinity)
    this.#remove(backlog.tags, Infinity)
    backlog.isClear = true
    this.#size += 1
  }
}
