import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import { checkArray, checkFunction, checkObject } from '../runtime/check.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import type { CacheBackend, InvalidationResult, InvalidationTarget } from './backend.ts'
import type { NewEntry, SpaceDefinition, StoredEntry } from './cache-driver.ts'
import {
  checkCacheKey,
  checkTags,
  type GetOrSetOptions,
  jittered,
  type LoadSettings,
  type NamespaceSettings,
  readLoadOptions,
  readSetOptions,
  type SetOptions,
} from './cache-options.ts'
import type { LoadStats } from './cache-stats.ts'
import { readEntry } from './claim.ts'
import type { Coherence } from './coherence.ts'
import type { Factory, FactoryContext } from './load.ts'
import { Loads } from './loads.ts'
import { LocalEntries, type Mark } from './local-entries.ts'
import { failsOpen, type SpaceParts } from './space-parts.ts'
import type { Invalidation } from './unsaid.ts'
import { ValueCodec } from './value-codec.ts'

/** One value of {@link CacheNamespace.setMany}. */
export interface NewValue<T> extends SetOptions {
  readonly key: string
  readonly value: T
}

/** For the owner of the namespaces. */
export interface NamespaceParts {
  readonly definition: SpaceDefinition
  readonly settings: NamespaceSettings
  readonly backend: CacheBackend
  readonly coherence: Coherence
  readonly context: CapabilityContext
  readonly stats: LoadStats
}

/**
 * Values of one kind, each kept for `ttlMs`: near this process, and at the backend for all nodes. Made by {@link Cache.namespace}.
 *
 * Everything but {@link getOrSet} settles within `timeoutMs` of the namespace, plus a twentieth, whatever the backend does. While it is away values are missed, and writes and
 * invalidations are `deferred`: what they make invalid is kept, and said before this node reads from the backend again; other nodes may read the old value until then, or
 * until it expires. With `strict` each of these rejects instead, with `UNAVAILABLE` or `TIMEOUT`.
 *
 * Values are shared by all who ask for them in this process: do not change them. Keys are 1 to 10,240 bytes of text of any kind.
 */
export class CacheNamespace<T = unknown> {
  readonly #definition: SpaceDefinition
  readonly #settings: NamespaceSettings
  readonly #parts: SpaceParts<T>
  readonly #local: LocalEntries<T>
  readonly #loads: Loads<T>
  readonly #coherence: Coherence
  readonly #target: InvalidationTarget
  readonly #stats: LoadStats
  /** Of a call that gives no options. */
  readonly #loadSettings: LoadSettings
  #ended: MultinodeError | undefined

  constructor({ definition, settings, backend, coherence, context, stats }: NamespaceParts) {
    const { clock } = context
    const { driver } = backend
    const { codec, compressFromBytes } = settings
    const { maxBytes } = driver.features
    const space = driver.open(definition)
    this.#definition = definition
    this.#settings = settings
    this.#local = new LocalEntries<T>(coherence.localSettings(settings.l1), clock)
    this.#parts = {
      name: definition.name,
      settings,
      space,
      backend,
      local: this.#local,
      codec: new ValueCodec({ namespace: definition.name, codec, compressFromBytes, maxBytes, context }),
      context,
      stats,
    }
    this.#loads = new Loads(this.#parts)
    this.#coherence = coherence
    this.#stats = stats
    this.#loadSettings = readLoadOptions({}, settings)
    this.#target = {
      space,
      onReplayed: (what) => {
        this.#forget(what)
        coherence.tell(definition, what)
      },
    }
    coherence.add(definition, {
      invalidate: (what) => this.#forget(what),
      lose: () => {
        this.#local.lose()
        this.#loads.lose()
      },
      limitAge: (oldestMs) => this.#local.limitAge(oldestMs),
    })
  }

  get name(): string {
    return this.#definition.name
  }

  /** For the owner. */
  get settings(): NamespaceSettings {
    return this.#settings
  }

  /** For the owner: how many values are looked for or made. */
  get running(): number {
    return this.#loads.running
  }

  /** The value, if there is one that is fresh. No round trip when this process has it, else one; two when it has tags. */
  get(key: string): Promise<T | undefined> {
    // As few steps as can be, and no async function: this is called the most.
    const entry = this.#local.fresh(key)
    if (entry === undefined) return this.#getRemote(key)
    this.#stats.localHits += 1
    return Promise.resolve(entry.value)
  }

  /** As {@link get} of each, in order; one round trip for all that this process does not have. */
  async getMany(keys: readonly string[]): Promise<(T | undefined)[]> {
    this.#checkOpen('getMany')
    checkArray('keys', keys)
    for (const key of keys) checkCacheKey('keys', key)
    const values = keys.map((key) => this.#local.fresh(key)?.value)
    const missing = [...new Set(keys.filter((_, index) => values[index] === undefined))]
    this.#stats.localHits += values.filter((value) => value !== undefined).length
    if (missing.length === 0) return values
    const found = await this.#readMany(missing)
    return values.map((value, index) => (value === undefined ? found.get(keys[index] ?? '') : value))
  }

  /** Whether {@link get} has a value. */
  async has(key: string): Promise<boolean> {
    return (await this.get(key)) !== undefined
  }

  /**
   * The value, or what `factory` makes, which is stored. For one key one factory runs in the whole cluster: who asks meanwhile waits for it, on this node and on the others. What is
   * invalidated while it runs is not stored; those who asked before get it all the same. Three round trips when it is made here, and up to two more for tags of a stale value; none when this process has the value.
   *
   * A stale value, which `graceMs` keeps, is served when the factory fails, when it takes longer than `softTimeoutMs` or `hardTimeoutMs`, and while another node makes the new one. A factory that
   * returns `undefined` stores nothing. With several callers at once, the options of the first one count for the making.
   *
   * Rejects with what the factory throws, `TIMEOUT` after `hardTimeoutMs`, `INVALID_ARGUMENT` and `TOO_LARGE` for a value that cannot be stored.
   */
  getOrSet<R extends T | undefined>(
    key: string,
    factory: (context: FactoryContext<T>) => R | Promise<R>,
    options?: GetOrSetOptions,
  ): Promise<T | R> {
    const entry = this.#local.fresh(key)
    if (entry !== undefined) {
      this.#stats.localHits += 1
      return Promise.resolve(entry.value)
    }
    // Undefined comes from factories that return it.
    return this.#load(key, factory, options) as Promise<T | R>
  }

  /**
   * Stores the value, and ends the making of others for this key. One round trip, one more when the namespace or a tag is new to this node, or was invalidated since. `deferred`: it is not stored, and what was there is
   * deleted as soon as the backend is there; where nobody knows whether the call left, what a later one stored goes with it.
   * @throws `INVALID_ARGUMENT` and `TOO_LARGE` for a value that cannot be stored
   */
  async set(key: string, value: T, options: SetOptions = {}): Promise<InvalidationResult> {
    this.#checkOpen('set')
    const entry = this.#newEntry('key', key, value, options)
    return this.#store([entry])
  }

  /** As {@link set} of each; one round trip for all. A key that is there twice is refused. */
  async setMany(values: readonly NewValue<T>[]): Promise<InvalidationResult> {
    this.#checkOpen('setMany')
    checkArray('values', values)
    const entries = values.map((each) => {
      checkObject('values', each)
      const { key, value, ...options } = each
      return this.#newEntry('values', key, value, options)
    })
    if (new Set(entries.map(({ key }) => key)).size < entries.length) throw repeatedKey()
    return entries.length === 0 ? 'done' : this.#store(entries)
  }

  /** Deletes values. What is being made for these keys now will not be stored. One round trip. */
  async delete(keys: string | readonly string[]): Promise<InvalidationResult> {
    this.#checkOpen('delete')
    const all = typeof keys === 'string' ? [keys] : keys
    checkArray('keys', all)
    for (const key of all) checkCacheKey('keys', key)
    return all.length === 0 ? 'done' : this.#invalidate({ keys: [...new Set(all)] })
  }

  /** Makes all values invalid that were stored with one of these tags. One round trip, whatever their number. */
  async invalidateTags(tags: readonly string[]): Promise<InvalidationResult> {
    this.#checkOpen('invalidateTags')
    const all = checkTags(tags)
    return all.length === 0 ? 'done' : this.#invalidate({ tags: all })
  }

  /** Makes all values of this namespace invalid. One round trip, whatever their number. */
  async clear(): Promise<InvalidationResult> {
    this.#checkOpen('clear')
    return this.#invalidate({ clear: true })
  }

  /** For the owner: resolves when no value is being made, at the latest after `deadlineMs`, with how many are. */
  finished(deadlineMs: number): Promise<number> {
    return this.#loads.finished(deadlineMs)
  }

  /** For the owner. Never rejects. */
  async close(reason: MultinodeError): Promise<void> {
    this.#ended = reason
    // What finds nothing here asks whether it is closed.
    this.#local.invalidate({ clear: true })
    await this.#loads.close(reason)
  }

  async #getRemote(key: string): Promise<T | undefined> {
    this.#checkOpen('get')
    checkCacheKey('key', key)
    const mark = this.#local.begin(key)
    const sinceMs = this.#parts.context.clock.monotonicMs()
    const { backend, space } = this.#parts
    try {
      const entry = await backend.read('get', this.#settings.timeoutMs, (ms) => space.get(key, ms))
      return this.#taken(mark, entry, sinceMs)
    } catch (error) {
      if (!failsOpen(this.#parts, error)) throw error
      this.#stats.misses += 1
      return undefined
    } finally {
      this.#local.end(mark)
    }
  }

  async #readMany(keys: readonly string[]): Promise<ReadonlyMap<string, T>> {
    const marks = keys.map((key) => this.#local.begin(key))
    const sinceMs = this.#parts.context.clock.monotonicMs()
    const { backend, space } = this.#parts
    const found = new Map<string, T>()
    try {
      const entries = await backend.read('getMany', this.#settings.timeoutMs, (ms) => space.getMany(keys, ms))
      for (const [index, mark] of marks.entries()) {
        const value = this.#taken(mark, entries[index], sinceMs)
        if (value !== undefined) found.set(mark.key, value)
      }
    } catch (error) {
      if (!failsOpen(this.#parts, error)) throw error
      this.#stats.misses += keys.length
    } finally {
      for (const mark of marks) this.#local.end(mark)
    }
    return found
  }

  #taken(mark: Mark, entry: StoredEntry | undefined, sinceMs: number): T | undefined {
    const found = entry === undefined || entry.freshMs <= 0 ? undefined : readEntry(this.#parts, entry)
    if (found === undefined) {
      this.#stats.misses += 1
      return undefined
    }
    this.#stats.remoteHits += 1
    const { value } = found
    const { data, tags, freshMs, keptMs } = found.entry
    this.#local.put(mark, { value, tags, sinceMs, freshMs, keptMs, bytes: data.byteLength })
    return value
  }

  async #load(
    key: string,
    factory: Factory<T>,
    options: GetOrSetOptions | undefined,
  ): Promise<T | undefined> {
    this.#checkOpen('getOrSet')
    checkCacheKey('key', key)
    checkFunction('factory', factory)
    const settings = options === undefined ? this.#loadSettings : readLoadOptions(options, this.#settings)
    return this.#loads.load({ key, factory, settings })
  }

  #newEntry(name: string, key: string, value: T, options: SetOptions): NewEntry {
    checkCacheKey(name, key)
    if (value === undefined) throw noValue()
    const { ttlMs, graceMs, tags } = readSetOptions(options, this.#settings)
    const data = this.#parts.codec.encode(value)
    return { key, data, ttlMs: jittered(ttlMs, this.#settings.jitter), graceMs, tags }
  }

  async #store(entries: readonly NewEntry[]): Promise<InvalidationResult> {
    const { backend, space, context } = this.#parts
    const what = { keys: entries.map(({ key }) => key) }
    const marks = this.#beginAfresh(what)
    const sinceMs = context.clock.monotonicMs()
    const { moment } = backend
    try {
      await backend.call('set', this.#settings.timeoutMs, (ms) => space.set(entries, ms))
    } catch (error) {
      this.#endAll(marks)
      return await this.#storeFailed(what, error)
    }
    backend.stored(this.#target, what.keys, moment)
    const untouched = marks.map((mark) => this.#local.isUntouched(mark))
    this.#endAll(marks)
    // Reads that began before it was stored may bring what was there before.
    const fresh = this.#beginAfresh(what)
    for (const [index, entry] of entries.entries()) {
      const mark = fresh[index]
      if (mark !== undefined && untouched[index] === true) this.#keep(mark, entry, sinceMs)
    }
    this.#endAll(fresh)
    this.#coherence.tell(this.#definition, what)
    return 'done'
  }

  /** What was there before must not be taken for the new value. */
  async #storeFailed(
    what: { readonly keys: readonly string[] },
    error: unknown,
  ): Promise<InvalidationResult> {
    const isAway = isMultinodeError(error) && error.retryable
    if (isAway) this.#parts.backend.keep(this.#target, what, error)
    this.#forget(what)
    this.#coherence.tell(this.#definition, what)
    if (!isAway || this.#settings.isStrict) throw error
    this.#stats.deferred += 1
    return 'deferred'
  }

  /** As the backend has it, and not the object of the caller, who may change it. */
  #keep(mark: Mark, { data, tags, ttlMs, graceMs }: NewEntry, sinceMs: number): void {
    if (!this.#local.isOn) return
    const value = this.#parts.codec.decode(data) as T | undefined
    if (value === undefined) return
    const times = { sinceMs, freshMs: ttlMs, keptMs: ttlMs + graceMs }
    this.#local.put(mark, { value, tags, bytes: data.byteLength, ...times })
  }

  async #invalidate(what: Invalidation): Promise<InvalidationResult> {
    this.#forget(what)
    let result: InvalidationResult
    try {
      result = await this.#parts.backend.invalidate(this.#target, what, this.#settings.timeoutMs)
    } finally {
      // Again: what was begun meanwhile may have read what was there before.
      this.#forget(what)
      this.#coherence.tell(this.#definition, what)
    }
    if (result === 'done') return result
    this.#stats.deferred += 1
    if (this.#settings.isStrict) throw this.#deferred()
    return result
  }

  #forget(what: Invalidation): void {
    this.#local.invalidate(what)
    this.#loads.invalidate(what)
  }

  #beginAfresh(what: { readonly keys: readonly string[] }): Mark[] {
    this.#forget(what)
    return what.keys.map((key) => this.#local.begin(key))
  }

  #endAll(marks: readonly Mark[]): void {
    for (const mark of marks) this.#local.end(mark)
  }

  #checkOpen(operation: string): void {
    if (this.#ended === undefined) return
    throw new MultinodeError(
      'CLOSED',
      `cache: ${operation} of ${this.name}: the cluster object was closed.`,
      { capability: 'cache', outcome: 'not-sent' },
    )
  }

  #deferred(): MultinodeError {
    const { capability, backend } = this.#parts.context
    return new MultinodeError(
      'UNAVAILABLE',
      `cache on ${backend}: an invalidation of ${this.name} was not heard. It is kept, and said again until it was.`,
      { capability, backend, outcome: 'unknown', details: { namespace: this.name } },
    )
  }
}

function noValue(): MultinodeError {
  return new MultinodeError(
    'INVALID_ARGUMENT',
    'value is undefined, which stands for no value: delete the key, or store null.',
    { capability: 'cache', details: { name: 'value' } },
  )
}

function repeatedKey(): MultinodeError {
  return new MultinodeError('INVALID_ARGUMENT', 'values has a key twice: which value counts is not known.', {
    capability: 'cache',
    details: { name: 'values' },
  })
}
