import { isDeepStrictEqual } from 'node:util'
import { MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { checkKey } from '../runtime/check.ts'
import { seldom } from '../runtime/seldom.ts'
import { CacheBackend, type CacheBackendStats } from './backend.ts'
import { BloomFilter, type BloomFilterOptions, readBloomFilterOptions } from './bloom-filter.ts'
import type { CacheDriver } from './cache-driver.ts'
import { type NamespaceOptions, readNamespaceOptions } from './cache-options.ts'
import { type LoadStats, zeroLoadStats } from './cache-stats.ts'
import { Coherence, type CoherenceStats } from './coherence.ts'
import { Counter, type CounterOptions } from './counter.ts'
import { Files } from './files.ts'
import { CacheNamespace } from './namespace.ts'

/** Counters since start, and what is so now. */
export interface CacheStats extends Readonly<LoadStats>, CacheBackendStats, CoherenceStats {
  /** How many values are looked for or made now. */
  readonly running: number
}

/**
 * Values that are kept for a while: in this process, and at the backend for all nodes. What is in this process is kept right by signals ({@link PubSub}): a node that misses some
 * forgets what it has, and while it cannot hear or be heard nothing that it has counts for longer than 2 seconds. Where there are no signals it keeps nothing of its own, unless a namespace says for how long.
 *
 * A backend that is away is no error for what only makes an app faster: see {@link CacheNamespace}. Counters, filters and files reject then.
 */
export class Cache {
  readonly #driver: CacheDriver
  readonly #context: CapabilityContext
  readonly #backend: CacheBackend
  readonly #coherence: Coherence
  readonly #namespaces = new Map<string, CacheNamespace>()
  readonly #filters = new Map<string, BloomFilter>()
  readonly #stats: LoadStats = zeroLoadStats()
  readonly #files: Files
  #closing: Promise<void> | undefined

  constructor(driver: CacheDriver, context: CapabilityContext) {
    this.#driver = driver
    this.#context = { ...context, report: seldom(context.report, context.clock) }
    this.#backend = new CacheBackend(driver, this.#context)
    this.#coherence = new Coherence(driver, this.#context)
    this.#files = new Files(this.#backend)
  }

  /** The driver underneath, with its typed `native` client. */
  get driver(): CacheDriver {
    return this.#driver
  }

  /**
   * The values of that name and version. No round trip.
   *
   * @param name 1 to 1,024 characters of any kind
   * @throws `INVALID_ARGUMENT`; `ALREADY_EXISTS` when this cluster object has it with other options; `CLOSED`
   */
  namespace<T = unknown>(name: string, options: NamespaceOptions): CacheNamespace<T> {
    this.#checkOpen('namespace')
    checkKey('name', name)
    const settings = readNamespaceOptions(options)
    const definition = { name, version: settings.version }
    const id = JSON.stringify([name, settings.version])
    const known = this.#namespaces.get(id)
    if (known !== undefined && !isDeepStrictEqual(known.settings, settings))
      throw otherOptions('namespace', name)
    // The app says what its values are, once for each place where it asks.
    if (known !== undefined) return known as CacheNamespace<T>
    const namespace = new CacheNamespace<T>({
      definition,
      settings,
      backend: this.#backend,
      coherence: this.#coherence,
      context: this.#context,
      stats: this.#stats,
    })
    this.#namespaces.set(id, namespace as CacheNamespace)
    return namespace
  }

  /** A number that all nodes change in one step each. No round trip. @param name 1 to 1,024 characters of any kind */
  counter(name: string, options: CounterOptions = {}): Counter {
    this.#checkOpen('counter')
    return new Counter(name, options, this.#backend)
  }

  /**
   * A set of texts that may take one for its own that is none, and never the other way round. No round trip.
   *
   * @param name 1 to 1,024 characters of any kind
   * @throws `INVALID_ARGUMENT`; `ALREADY_EXISTS` when this cluster object has it with other options; `CLOSED`
   */
  bloomFilter(name: string, options: BloomFilterOptions): BloomFilter {
    this.#checkOpen('bloomFilter')
    const settings = readBloomFilterOptions(options)
    const known = this.#filters.get(name)
    if (known !== undefined && !isDeepStrictEqual(known.settings, settings))
      throw otherOptions('filter', name)
    if (known !== undefined) return known
    const filter = new BloomFilter(name, settings, this.#backend)
    this.#filters.set(name, filter)
    return filter
  }

  /** Files that every node can serve. */
  get files(): Files {
    return this.#files
  }

  stats(): CacheStats {
    return {
      ...this.#stats,
      ...this.#backend.stats(),
      ...this.#coherence.stats(),
      running: [...this.#namespaces.values()].reduce((sum, { running }) => sum + running, 0),
    }
  }

  /**
   * Waits for the values that are being made, and says to the backend what it did not hear, for `deadlineMs` at most. All stays usable, because what else drains may use it;
   * what this process keeps counts for 2 seconds at most from now on, because the signals end soon.
   * @returns what was left
   */
  async drain(deadlineMs: number): Promise<string[]> {
    this.#coherence.drain()
    const [running, unsaid] = await Promise.all([
      Promise.all([...this.#namespaces.values()].map((each) => leftOf(each, deadlineMs))),
      this.#backend.drain(deadlineMs),
    ])
    const left = running.filter((name) => name !== undefined)
    return unsaid === 0 ? left : [...left, `${unsaid} invalidations that the backend did not hear of`]
  }

  /** Who waits for a value is told `CLOSED`, and its factory is aborted. What the backend did not hear is said if that takes no longer than `callTimeoutMs`, else reported as `LOST`. Idempotent, never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const reason = closed('getOrSet')
    await Promise.all([...this.#namespaces.values()].map((each) => each.close(reason)))
    await this.#backend.close()
    this.#coherence.end()
  }

  #checkOpen(operation: string): void {
    if (this.#closing !== undefined) throw closed(operation)
  }
}

async function leftOf(namespace: CacheNamespace, deadlineMs: number): Promise<string | undefined> {
  const running = await namespace.finished(deadlineMs)
  return running === 0 ? undefined : `${namespace.name}: ${running} values that are being made`
}

function closed(operation: string): MultinodeError {
  return new MultinodeError('CLOSED', `cache: ${operation}: the cluster object was closed.`, {
    capability: 'cache',
    outcome: 'not-sent',
  })
}

function otherOptions(what: string, name: string): MultinodeError {
  return new MultinodeError(
    'ALREADY_EXISTS',
    `The ${what} ${name} was made with other options before: make it in one place, and pass it on.`,
    { capability: 'cache', details: { name } },
  )
}
