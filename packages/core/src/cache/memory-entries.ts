import { LRUCache } from 'lru-cache'
import type { Clock } from '../runtime/clock.ts'

/** Of all entries of a cluster name, what is kept with each included: what was not used for longest goes first. */
const defaultMostBytes = 256 * 1_048_576
const mostTagBytes = 32 * 1_048_576
/** What keeping one costs besides its text and its data, about. */
const overheadBytes = 200
/** How many entries each write looks at, to forget those that nobody asks for any more. */
const sweptPerWrite = 2

/** What a namespace and the tags of an entry were. */
export class Versions {
  readonly space: number
  readonly tags: ReadonlyMap<string, number>

  constructor(space: number, tags: ReadonlyMap<string, number>) {
    this.space = space
    this.tags = tags
  }
}

export interface MemoryEntry {
  /** Its namespace. */
  readonly space: { isValid(entry: MemoryEntry): boolean }
  readonly data: Buffer
  readonly versions: Versions
  readonly freshUntilMs: number
  readonly keptUntilMs: number
}

/** What the namespaces of one cluster name share: the memory for their entries and tags, and the time. */
export class MemoryEntries {
  readonly clock: Clock
  readonly #entries: LRUCache<string, MemoryEntry>
  /** A tag that was forgotten costs the entries that have it, and nothing else. */
  readonly #tags = new LRUCache<string, number>({
    maxSize: mostTagBytes,
    sizeCalculation: (_, id) => id.length * 2 + overheadBytes,
  })
  #sweeping: Iterator<string>
  /** What the sweep has come to: looked at when it is past it, because where a deleted one was it would not find on. */
  #swept: string | undefined
  #lastVersion = 0

  constructor(clock: Clock, mostBytes: number = defaultMostBytes) {
    this.clock = clock
    this.#entries = new LRUCache({
      maxSize: mostBytes,
      sizeCalculation: ({ data }, id) => data.byteLength + id.length * 2 + overheadBytes,
    })
    this.#sweeping = this.#entries.rkeys()
  }

  /** Valid or not: that is for its namespace to say. */
  get(id: string): MemoryEntry | undefined {
    return this.#entries.get(id)
  }

  set(id: string, entry: MemoryEntry): void {
    for (let seen = 0; seen < sweptPerWrite; seen += 1) this.#sweepOne()
    this.#entries.set(id, entry)
  }

  delete(id: string): void {
    this.#entries.delete(id)
  }

  versionOfTag(id: string): number | undefined {
    return this.#tags.get(id)
  }

  /** Gives the tag a new version. */
  mintTag(id: string): number {
    const version = this.mint()
    this.#tags.set(id, version)
    return version
  }

  /** Larger than each before, in microseconds since 1970 where the wall clock lets it. */
  mint(): number {
    this.#lastVersion = Math.max(this.#lastVersion + 1, Math.floor(this.clock.wallMs() * 1_000))
    return this.#lastVersion
  }

  /** How many entries are kept, valid or not. */
  get size(): number {
    return this.#entries.size
  }

  #sweepOne(): void {
    const next = this.#sweeping.next()
    const id = this.#swept
    const entry = id === undefined ? undefined : this.#entries.peek(id)
    if (id !== undefined && entry !== undefined && !entry.space.isValid(entry)) this.#entries.delete(id)
    this.#swept = next.done === true ? undefined : next.value
    if (next.done === true) this.#sweeping = this.#entries.rkeys()
  }
}
