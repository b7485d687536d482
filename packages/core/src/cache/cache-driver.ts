import type { Driver } from '../registry/driver.ts'
import type { Plugin } from '../registry/plugin.ts'

/** What a cache backend guarantees. */
export interface CacheFeatures {
  /** Who sees what is stored: only this process, or all nodes of the cluster. */
  readonly scope: 'process' | 'cluster'
  /** Whether a failover of the backend may bring back, until its ttl, what was deleted before. */
  readonly forgetsDeletes: boolean
  /** The largest value, encoded. */
  readonly maxBytes: number
  readonly [feature: string]: string | number | boolean
}

/** A namespace: the same name with another version is another namespace. */
export interface SpaceDefinition {
  readonly name: string
  readonly version: string
}

/** An entry as it is written. Drivers do not look into `data`. */
export interface NewEntry {
  readonly key: string
  readonly data: Buffer
  /** How long it is fresh, by the backend's clock. */
  readonly ttlMs: number
  /** How long it is kept as a stale one after that. */
  readonly graceMs: number
  /** Without repetitions. */
  readonly tags: readonly string[]
}

/** A valid entry: those whose namespace was cleared or one of whose tags was invalidated since are never returned. */
export interface StoredEntry {
  readonly data: Buffer
  /** How much longer it is fresh, by the backend's clock; not above 0 when it is stale. */
  readonly freshMs: number
  /** How much longer it is kept. */
  readonly keptMs: number
  readonly tags: readonly string[]
}

export interface ClaimRequest {
  readonly key: string
  /** Unique per claim. */
  readonly owner: string
  readonly leaseMs: number
  /** What the value will be tagged with: the state of these tags counts from now. */
  readonly tags: readonly string[]
}

/** What the namespace and the tags of a claim were when it was made. Opaque: for {@link CacheSpace.fill}. */
export type Snapshot = unknown

/**
 * `fresh`: somebody stored one meanwhile; nothing was claimed. `granted`: this owner makes the value. `busy`: another one does. `stale` is what may be
 * served meanwhile.
 */
export type ClaimReply =
  | { readonly status: 'fresh'; readonly entry: StoredEntry }
  | { readonly status: 'granted'; readonly snapshot: Snapshot; readonly stale: StoredEntry | undefined }
  | { readonly status: 'busy'; readonly stale: StoredEntry | undefined }

/**
 * The entries of one namespace. Every call settles within `timeoutMs`, rejects with a typed error whose `outcome` says truly whether a
 * write left, and may run concurrently with any other. `set` and `fill` store nothing after their time, as far as the backend can tell. No clock of a node enters a decision. While the backend is away calls reject at once.
 *
 * A lease is for one key: `claim` takes it when it is free, and it ends with {@link fill}, {@link release}, {@link set} or {@link delete} of the key, or after its time.
 */
export interface CacheSpace {
  /** One round trip; one more when the entry has tags. */
  get(key: string, timeoutMs: number): Promise<StoredEntry | undefined>
  /** One for each key, in order. Cost as {@link get}, whatever their number; on a Cluster one pipeline for each master. */
  getMany(keys: readonly string[], timeoutMs: number): Promise<(StoredEntry | undefined)[]>
  /** One round trip, one more when what is there has tags that are not named here. */
  claim(request: ClaimRequest, timeoutMs: number): Promise<ClaimReply>
  /** Makes the lease last `leaseMs` from now. @returns false when this owner does not have it any more */
  renew(key: string, owner: string, leaseMs: number, timeoutMs: number): Promise<boolean>
  /**
   * Stores the entry, and ends the lease, only if this owner still has it. What was invalidated since `snapshot` was taken makes the entry invalid. One round trip.
   */
  fill(entry: NewEntry, owner: string, snapshot: Snapshot, timeoutMs: number): Promise<'stored' | 'refused'>
  /** Ends the lease if this owner has it: its value was not made. One round trip. */
  release(key: string, owner: string, timeoutMs: number): Promise<void>
  /**
   * Stores all, whoever holds a lease: that is ended. Rejects when one of them may not be stored; then some may be. One round trip, as `getMany`, one
   * more when the namespace or a tag is new to this node, or was invalidated since it stored something last.
   */
  set(entries: readonly NewEntry[], timeoutMs: number): Promise<void>
  /** Deletes entries and ends leases: who makes such a value now cannot store it. One round trip, as `getMany`. */
  delete(keys: readonly string[], timeoutMs: number): Promise<void>
  /** Makes every entry that has one of these tags invalid, also those whose value is being made. One round trip and one command for each tag, whatever the number of entries. */
  invalidateTags(tags: readonly string[], timeoutMs: number): Promise<void>
  /** Makes every entry invalid, also those whose value is being made. One round trip and one command, whatever the number of entries. */
  clear(timeoutMs: number): Promise<void>
}

/** Numbers that are changed in one step each. Verbs as in {@link CacheSpace}: deadlines and one round trip each. */
export interface CounterDriver {
  /**
   * @param ttlMs for a counter that this call makes; one that is there keeps its own
   * @returns the new value
   * @throws `REJECTED` when it would leave the safe integers; the value is then unchanged
   */
  increment(name: string, by: number, ttlMs: number | undefined, timeoutMs: number): Promise<number>
  get(name: string, timeoutMs: number): Promise<number>
  /** Deletes it: the next increment begins at 0, with a new ttl. */
  reset(name: string, timeoutMs: number): Promise<void>
}

export interface BloomDefinition {
  readonly name: string
  readonly capacity: number
  readonly errorRate: number
}

/** Sets that may take an item for one of theirs that is none, and never the other way round. Deadlines as in {@link CacheSpace}. */
export interface BloomFilterDriver {
  /** How it is kept, for a filter that does not exist yet. */
  readonly engine: 'native' | 'bitmap' | 'process'
  /**
   * Makes the filter if there is none.
   * @throws `REJECTED` when it exists with another capacity or error rate
   */
  add(filter: BloomDefinition, items: readonly string[], timeoutMs: number): Promise<void>
  /** One answer for each. @returns undefined when there is no such filter */
  mayHave(
    filter: BloomDefinition,
    items: readonly string[],
    timeoutMs: number,
  ): Promise<boolean[] | undefined>
  remove(name: string, timeoutMs: number): Promise<void>
}

export interface StoredFile {
  readonly bytes: Buffer
  readonly etag: string
  readonly contentType: string
}

/** Files that every node can serve. Deadlines as in {@link CacheSpace}. */
export interface FileDriver {
  /** Replaces what is there. Without `ttlMs` it is kept until it is deleted. One round trip. */
  put(name: string, file: StoredFile, ttlMs: number | undefined, timeoutMs: number): Promise<void>
  /** `unchanged`: it still has one of the etags in `known`, and its bytes are not sent. One round trip. */
  get(
    name: string,
    known: readonly string[],
    timeoutMs: number,
  ): Promise<StoredFile | { readonly unchanged: string } | undefined>
  delete(name: string, timeoutMs: number): Promise<void>
}

/** What a backend does for `Cache`. */
export interface CacheDriver extends Driver {
  readonly features: CacheFeatures
  /** Sends nothing. */
  open(definition: SpaceDefinition): CacheSpace
  readonly counters?: CounterDriver
  readonly bloomFilters?: BloomFilterDriver
  readonly files?: FileDriver
}

export type CachePlugin = Plugin<CacheDriver> & { readonly capability: 'cache' }
