import { MultinodeError } from '../errors/multinode-error.ts'
import type { Clock } from '../runtime/clock.ts'
import type { CacheSpace, ClaimReply, ClaimRequest, NewEntry, Snapshot, StoredEntry } from './cache-driver.ts'
import { type MemoryEntries, type MemoryEntry, Versions } from './memory-entries.ts'

/** The largest value of the memory backend. */
export const mostEntryBytes: number = 8 * 1_048_576

interface Lease {
  readonly owner: string
  readonly untilMs: number
}

/**
 * The entries of one namespace in this process. The same rules as on a server, one call after the other: the reference for what {@link CacheSpace} means. Values
 * are copied in and out, as a network would.
 */
export class MemorySpace implements CacheSpace {
  readonly #entries: MemoryEntries
  readonly #clock: Clock
  /** In front of the keys: no other namespace has it. */
  readonly #prefix: string
  readonly #leases = new Map<string, Lease>()
  #version: number
  #sweepAtSize = 1_000

  constructor(entries: MemoryEntries) {
    this.#entries = entries
    this.#clock = entries.clock
    this.#version = entries.mint()
    this.#prefix = `${this.#version}:`
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    return this.#read(key)
  }

  async getMany(keys: readonly string[]): Promise<(StoredEntry | undefined)[]> {
    return keys.map((key) => this.#read(key))
  }

  async claim({ key, owner, leaseMs, tags }: ClaimRequest): Promise<ClaimReply> {
    const entry = this.#read(key)
    if (entry !== undefined && entry.freshMs > 0) return { status: 'fresh', entry }
    const holder = this.#leaseOf(key)
    if (holder !== undefined && holder.owner !== owner) return { status: 'busy', stale: entry }
    this.#lease(key, owner, leaseMs)
    return { status: 'granted', snapshot: this.#versions(tags), stale: entry }
  }

  async renew(key: string, owner: string, leaseMs: number): Promise<boolean> {
    if (this.#leaseOf(key)?.owner !== owner) return false
    this.#lease(key, owner, leaseMs)
    return true
  }

  async fill(entry: NewEntry, owner: string, snapshot: Snapshot): Promise<'stored' | 'refused'> {
    checkSize(entry)
    if (this.#leaseOf(entry.key)?.owner !== owner) return 'refused'
    this.#store(entry, versionsOf(entry, snapshot))
    return 'stored'
  }

  async release(key: string, owner: string): Promise<void> {
    if (this.#leases.get(key)?.owner === owner) this.#leases.delete(key)
  }

  async set(entries: readonly NewEntry[]): Promise<void> {
    for (const entry of entries) checkSize(entry)
    for (const entry of entries) this.#store(entry, this.#versions(entry.tags))
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      this.#entries.delete(this.#prefix + key)
      this.#leases.delete(key)
    }
  }

  async invalidateTags(tags: readonly string[]): Promise<void> {
    for (const tag of tags) this.#entries.mintTag(this.#prefix + tag)
  }

  async clear(): Promise<void> {
    this.#version = this.#entries.mint()
  }

  /** Neither too old, nor invalidated since. */
  isValid({ versions, keptUntilMs }: MemoryEntry): boolean {
    if (keptUntilMs <= this.#clock.monotonicMs() || versions.space !== this.#version) return false
    for (const [tag, version] of versions.tags) {
      if (this.#entries.versionOfTag(this.#prefix + tag) !== version) return false
    }
    return true
  }

  #read(key: string): StoredEntry | undefined {
    const entry = this.#entries.get(this.#prefix + key)
    if (entry === undefined) return undefined
    if (!this.isValid(entry)) {
      this.#entries.delete(this.#prefix + key)
      return undefined
    }
    const nowMs = this.#clock.monotonicMs()
    return {
      data: Buffer.from(entry.data),
      freshMs: entry.freshUntilMs - nowMs,
      keptMs: entry.keptUntilMs - nowMs,
      tags: [...entry.versions.tags.keys()],
    }
  }

  #store({ key, data, ttlMs, graceMs }: NewEntry, versions: Versions): void {
    const freshUntilMs = this.#clock.monotonicMs() + ttlMs
    this.#leases.delete(key)
    this.#entries.set(this.#prefix + key, {
      space: this,
      data: Buffer.from(data),
      versions,
      freshUntilMs,
      keptUntilMs: freshUntilMs + graceMs,
    })
  }

  #versions(tags: readonly string[]): Versions {
    return new Versions(this.#version, new Map(tags.map((tag) => [tag, this.#versionOf(tag)])))
  }

  #versionOf(tag: string): number {
    const id = this.#prefix + tag
    return this.#entries.versionOfTag(id) ?? this.#entries.mintTag(id)
  }

  #leaseOf(key: string): Lease | undefined {
    const lease = this.#leases.get(key)
    return lease !== undefined && lease.untilMs > this.#clock.monotonicMs() ? lease : undefined
  }

  #lease(key: string, owner: string, leaseMs: number): void {
    if (this.#leases.size >= this.#sweepAtSize) this.#sweepLeases()
    this.#leases.set(key, { owner, untilMs: this.#clock.monotonicMs() + leaseMs })
  }

  /** Forgets those that ran out. Runs whenever their number has doubled. */
  #sweepLeases(): void {
    for (const key of this.#leases.keys()) {
      if (this.#leaseOf(key) === undefined) this.#leases.delete(key)
    }
    this.#sweepAtSize = Math.max(1_000, this.#leases.size * 2)
  }
}

function versionsOf({ tags }: NewEntry, snapshot: Snapshot): Versions {
  if (snapshot instanceof Versions && tags.every((tag) => snapshot.tags.has(tag))) {
    return new Versions(snapshot.space, new Map([...snapshot.tags].filter(([tag]) => tags.includes(tag))))
  }
  throw new MultinodeError(
    'INVALID_ARGUMENT',
    'cache on memory: fill needs the snapshot of its claim, and no tags that were not named there.',
    { capability: 'cache', backend: 'memory', outcome: 'not-sent' },
  )
}

function checkSize({ key, data }: NewEntry): void {
  if (data.byteLength <= mostEntryBytes) return
  throw new MultinodeError(
    'TOO_LARGE',
    `cache on memory: the value of ${JSON.stringify(key)} has ${data.byteLength} bytes, and ${mostEntryBytes} are allowed.`,
    { capability: 'cache', backend: 'memory', outcome: 'not-sent', details: { bytes: data.byteLength } },
  )
}
