import { unsupported } from '../errors/unsupported.ts'
import { checkCount, checkKey, checkKnownOptions, checkMs } from '../runtime/check.ts'
import type { CacheBackend } from './backend.ts'
import type { CounterDriver } from './cache-driver.ts'

export interface CounterOptions {
  /** How long each call may take. Default 250. */
  readonly timeoutMs?: number
}

export interface IncrementOptions {
  /** For a counter that this call makes: how long it lasts, from 1 ms to a year. One that is there keeps its own. Default: until it is reset. */
  readonly ttlMs?: number
}

export const defaultTimeoutMs = 250
export const longestKeptMs: number = 366 * 86_400_000

/**
 * A number that all nodes change in one step each, so that none of their changes is lost. Nothing is guessed while the backend is away: every call
 * rejects with `UNAVAILABLE` or `TIMEOUT` then, at once when that is known already. One round trip each.
 */
export class Counter {
  readonly name: string
  readonly #backend: CacheBackend
  readonly #timeoutMs: number

  /** @throws `INVALID_ARGUMENT` */
  constructor(name: string, options: CounterOptions, backend: CacheBackend) {
    this.name = checkKey('name', name)
    checkKnownOptions('counter', options, ['timeoutMs'])
    this.#timeoutMs = checkMs('timeoutMs', options.timeoutMs ?? defaultTimeoutMs, { min: 1 })
    this.#backend = backend
  }

  /**
   * @param by a whole number, below 0 too
   * @returns the new value, which no other increment got
   * @throws `REJECTED` when it would leave the safe integers, and stays as it is; with the outcome `unknown` it may have been changed
   */
  async increment(by = 1, options: IncrementOptions = {}): Promise<number> {
    checkCount('by', by, { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER })
    checkKnownOptions('increment', options, ['ttlMs'])
    const { ttlMs } = options
    if (ttlMs !== undefined) checkMs('ttlMs', ttlMs, { min: 1, max: longestKeptMs })
    return this.#call('increment', (counters, timeoutMs) =>
      counters.increment(this.name, by, ttlMs, timeoutMs),
    )
  }

  /** 0 when there is none. */
  async get(): Promise<number> {
    return this.#call('get', (counters, timeoutMs) => counters.get(this.name, timeoutMs))
  }

  /** Deletes it: the next increment begins at 0, with a ttl of its own. */
  async reset(): Promise<void> {
    return this.#call('reset', (counters, timeoutMs) => counters.reset(this.name, timeoutMs))
  }

  #call<T>(operation: string, work: (counters: CounterDriver, timeoutMs: number) => Promise<T>): Promise<T> {
    const { driver, context } = this.#backend
    const { counters } = driver
    if (counters === undefined) throw unsupported(context, 'counters')
    return this.#backend.call(
      `${operation} of the counter ${JSON.stringify(this.name)}`,
      this.#timeoutMs,
      (timeoutMs) => work(counters, timeoutMs),
    )
  }
}
