import is from '@sindresorhus/is'
import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import { unsupported } from '../errors/unsupported.ts'
import {
  checkArray,
  checkChoice,
  checkCount,
  checkKey,
  checkKnownOptions,
  checkMs,
} from '../runtime/check.ts'
import type { CacheBackend } from './backend.ts'
import { bloomShape, mostBloomBits } from './bloom-bits.ts'
import type { BloomDefinition, BloomFilterDriver } from './cache-driver.ts'
import { defaultTimeoutMs } from './counter.ts'

export interface BloomFilterOptions {
  /** How many items it is for. With more it still has all of them, and is wrong more often. */
  readonly capacity: number
  /** How often it may say yes to an item that it does not have, when it has as many as it is for: from 0.000001 to 0.5. */
  readonly errorRate: number
  /** What a filter that does not exist has: all (`true`, the default, which no item that was added can contradict), nothing, or `NOT_FOUND`. */
  readonly missing?: boolean | 'throw'
  /** How long each round trip may take. Default 250. */
  readonly timeoutMs?: number
}

export type BloomFilterSettings = Required<BloomFilterOptions>

const mostCapacity = 1_000_000_000
const mostItemCharacters = 65_536
const loneSurrogate = /\p{Surrogate}/u
/** Of one round trip. */
const mostInBatch = 1_000

/** @throws `INVALID_ARGUMENT` */
export function readBloomFilterOptions(options: BloomFilterOptions): BloomFilterSettings {
  checkKnownOptions('bloomFilter', options, ['capacity', 'errorRate', 'missing', 'timeoutMs'])
  const { capacity, errorRate, missing = true, timeoutMs = defaultTimeoutMs } = options
  checkCount('capacity', capacity, { min: 1, max: mostCapacity })
  if (!is.number(errorRate) || !(errorRate >= 1e-6 && errorRate <= 0.5)) {
    throw invalid('errorRate', `errorRate is ${String(errorRate)}; it must be a number from 0.000001 to 0.5.`)
  }
  if (!is.boolean(missing)) checkChoice('missing', missing, ['throw'])
  if (bloomShape(capacity, errorRate).bits > mostBloomBits) {
    throw invalid(
      'capacity',
      `A filter for ${capacity} items with an error rate of ${errorRate} has more than 512 MiB: take less of either.`,
    )
  }
  return { capacity, errorRate, missing, timeoutMs: checkMs('timeoutMs', timeoutMs, { min: 1 }) }
}

/**
 * A set of texts that all nodes share, in a few bits for each: what was added it has, always, and of what was not it has a small part by mistake. Made by the first
 * `add`. While the backend is away every call rejects with `UNAVAILABLE` or `TIMEOUT`, at once when that is known already.
 *
 * One round trip for each thousand items, two on some backends.
 */
export class BloomFilter {
  readonly name: string
  readonly #settings: BloomFilterSettings
  readonly #definition: BloomDefinition
  readonly #backend: CacheBackend

  /** @throws `INVALID_ARGUMENT` */
  constructor(name: string, settings: BloomFilterSettings, backend: CacheBackend) {
    this.name = checkKey('name', name)
    this.#settings = settings
    this.#definition = { name, capacity: settings.capacity, errorRate: settings.errorRate }
    this.#backend = backend
  }

  get settings(): BloomFilterSettings {
    return this.#settings
  }

  /**
   * Some may have been added when it rejects, unless `outcome` is `not-sent`; adding them again is no harm.
   *
   * @param items text of up to 65,536 characters, '' too
   * @throws `REJECTED` when the filter was made for another capacity or error rate
   */
  async add(items: string | readonly string[]): Promise<void> {
    const all = is.string(items) ? [items] : items
    checkItems(all)
    let isBegun = false
    for (const batch of inBatches(all)) {
      try {
        await this.#call('add', (filters, timeoutMs) => filters.add(this.#definition, batch, timeoutMs))
      } catch (error) {
        throw isBegun ? doneInPart(error) : error
      }
      isBegun = true
    }
  }

  /** False: certainly not. True: probably. */
  async mayHave(item: string): Promise<boolean> {
    const [may] = await this.mayHaveMany([item])
    return may === true
  }

  /** As {@link mayHave}, one answer for each, in order. */
  async mayHaveMany(items: readonly string[]): Promise<boolean[]> {
    checkItems(items)
    const answers: boolean[] = []
    for (const batch of inBatches(items)) {
      const found = await this.#call('mayHave', (filters, timeoutMs) =>
        filters.mayHave(this.#definition, batch, timeoutMs),
      )
      answers.push(...(found ?? this.#allMissing(batch.length)))
    }
    return answers
  }

  /** Deletes it, if there is one. */
  async remove(): Promise<void> {
    await this.#call('remove', (filters, timeoutMs) => filters.remove(this.name, timeoutMs))
  }

  #allMissing(count: number): boolean[] {
    const { missing } = this.#settings
    if (missing !== 'throw') return Array.from({ length: count }, () => missing)
    const { capability, backend } = this.#backend.context
    throw new MultinodeError(
      'NOT_FOUND',
      `${capability} on ${backend}: there is no Bloom filter ${JSON.stringify(this.name)}; the first add makes it.`,
      { capability, backend, details: { name: this.name } },
    )
  }

  #call<T>(
    operation: string,
    work: (filters: BloomFilterDriver, timeoutMs: number) => Promise<T>,
  ): Promise<T> {
    const { driver, context } = this.#backend
    const { bloomFilters } = driver
    if (bloomFilters === undefined) throw unsupported(context, 'Bloom filters')
    return this.#backend.call(
      `${operation} of the Bloom filter ${JSON.stringify(this.name)}`,
      this.#settings.timeoutMs,
      (timeoutMs) => work(bloomFilters, timeoutMs),
    )
  }
}

function checkItems(items: readonly string[]): void {
  checkArray('items', items)
  for (const item of items) {
    // A lone surrogate has no UTF-8 form: two items would be one.
    if (is.string(item) && item.length <= mostItemCharacters && !loneSurrogate.test(item)) continue
    throw invalid('items', `An item is no well-formed text of up to ${mostItemCharacters} characters.`)
  }
}

/** That the last batch was not sent does not mean that nothing was added. */
function doneInPart(error: unknown): unknown {
  if (!isMultinodeError(error)) return error
  const { code, message, capability, backend, details } = error
  return new MultinodeError(code, message, { capability, backend, details, outcome: 'unknown', cause: error })
}

function* inBatches(items: readonly string[]): Generator<readonly string[]> {
  for (let first = 0; first < items.length; first += mostInBatch) {
    yield items.slice(first, first + mostInBatch)
  }
}

function invalid(name: string, message: string): MultinodeError {
  return new MultinodeError('INVALID_ARGUMENT', message, { capability: 'cache', details: { name } })
}
