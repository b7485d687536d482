import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import { toDriverError } from '../errors/to-driver-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { Deadlines } from '../runtime/deadlines.ts'
import { Breaker } from './breaker.ts'
import type { CacheDriver, CacheSpace } from './cache-driver.ts'
import { Replays } from './replays.ts'
import type { Invalidation, InvalidationTarget } from './unsaid.ts'

export type { Invalidation, InvalidationTarget } from './unsaid.ts'

/** `deferred`: the backend did not hear it; it is kept, and said again until it did. */
export type InvalidationResult = 'done' | 'deferred'

/** Counters since start, and what is so now. */
export interface CacheBackendStats {
  /** Calls that failed because the backend was away or did not answer in time. */
  readonly failures: number
  /** Calls that were refused without asking the backend. */
  readonly refused: number
  /** Whether calls are refused now, because several in a row failed. */
  readonly isOpen: boolean
  /** How often that began. */
  readonly opened: number
  /** Keys, tags and clears whose invalidation waits for the backend. */
  readonly waiting: number
  /** Those that were said again with success. */
  readonly replayed: number
}

const probeTimeoutMs = 250
/** Nobody waits for a replay, but trust in the backend does. */
const replayTimeoutMs = 1_000

/**
 * How everything of the cache calls its driver, one for all of it: with a deadline, with failures wrapped exactly once, and with a breaker, so that a backend that
 * is away costs the callers nothing after the first few. Keeps the invalidations that the backend did not hear.
 */
export class CacheBackend {
  readonly #driver: CacheDriver
  readonly #context: CapabilityContext
  readonly #deadlines: Deadlines
  readonly #breaker: Breaker
  readonly #replays: Replays
  #failures = 0
  #refused = 0
  #closing: Promise<void> | undefined

  constructor(driver: CacheDriver, context: CapabilityContext) {
    this.#driver = driver
    this.#context = context
    this.#deadlines = new Deadlines(context.clock)
    this.#replays = new Replays({
      context,
      mayTry: () => !this.#breaker.isOpen,
      say: ({ target, what }) => this.#invalidateOnce(target.space, what, replayTimeoutMs),
    })
    this.#breaker = new Breaker({
      clock: context.clock,
      probe: () => this.#settled('ping', probeTimeoutMs, (timeoutMs) => driver.ping(timeoutMs)),
      onClosed: () => this.#replays.wake(),
    })
  }

  get driver(): CacheDriver {
    return this.#driver
  }

  get context(): CapabilityContext {
    return this.#context
  }

  /** Whether what is stored may be read: the backend answers, and no invalidation waits for it. */
  get isTrusted(): boolean {
    return !this.#breaker.isOpen && this.#replays.size === 0 && this.#closing === undefined
  }

  /**
   * For all that returns entries (`get`, `getMany`, `claim`). Settles within `timeoutMs` plus a twentieth.
   *
   * @throws at once, `UNAVAILABLE` and `not-sent`, while {@link isTrusted} is false
   */
  read<T>(operation: string, timeoutMs: number, work: (timeoutMs: number) => Promise<T>): Promise<T> {
    if (this.#replays.size > 0) return Promise.reject(this.#refusal(operation))
    return this.call(operation, timeoutMs, work)
  }

  /**
   * For all that returns no entries (`set`, `fill`, `renew`, `release`; counters, filters and files). Settles within `timeoutMs` plus a twentieth.
   *
   * @throws at once, `UNAVAILABLE` and `not-sent`, while the backend is known to be away; `CLOSED` after {@link close}
   */
  call<T>(operation: string, timeoutMs: number, work: (timeoutMs: number) => Promise<T>): Promise<T> {
    if (this.#breaker.isOpen || this.#closing !== undefined) return Promise.reject(this.#refusal(operation))
    return this.#settled(operation, timeoutMs, work)
  }

  /**
   * An invalidation that must not be forgotten. When the backend is away or does not answer it is kept, and said again until it is done; until then
   * {@link isTrusted} is false. The backend may still give out what was there, to reads that began before this settles, too.
   *
   * @throws what the backend refuses for another reason: it is then not kept
   */
  async invalidate(
    target: InvalidationTarget,
    what: Invalidation,
    timeoutMs: number,
  ): Promise<InvalidationResult> {
    if (this.#closing !== undefined) throw this.#refusal('invalidate')
    try {
      if (this.#breaker.isOpen) throw this.#refusal('invalidate')
      await this.#invalidateOnce(target.space, what, timeoutMs)
      return 'done'
    } catch (error) {
      if (!isAway(error)) throw error
      // A late one costs a miss.
      this.#replays.keep(target, what, true)
      return 'deferred'
    }
  }

  /**
   * As {@link invalidate} where that is known to fail: keeps it without a try, for a `set` that failed with this error. One that may have left may take effect late, over what is
   * stored after it, so {@link stored} does not take that away.
   */
  keep(target: InvalidationTarget, what: Invalidation, { outcome }: MultinodeError): void {
    this.#replays.keep(target, what, outcome === 'not-sent')
  }

  /** For {@link stored}: what is kept after this is later. */
  get moment(): number {
    return this.#replays.moment
  }

  /** These keys were stored by a call that began at `moment`: what was kept before that would only delete the new values. */
  stored(target: InvalidationTarget, keys: readonly string[], moment: number): void {
    if (this.#replays.size > 0) this.#replays.drop(target, keys, moment)
  }

  stats(): CacheBackendStats {
    return {
      failures: this.#failures,
      refused: this.#refused,
      isOpen: this.#breaker.isOpen,
      opened: this.#breaker.opened,
      waiting: this.#replays.size,
      replayed: this.#replays.replayed,
    }
  }

  /** Tries for `deadlineMs` to say what was not said. Resolves with how many keys, tags and clears are left. Never rejects. */
  async drain(deadlineMs: number): Promise<number> {
    if (this.#replays.size > 0) {
      void this.#breaker.probeNow()
      await this.#replays.flush(deadlineMs)
    }
    return this.#replays.size
  }

  /** As {@link drain}, for `callTimeoutMs`; what is left then is reported as `LOST`. Calls reject with `CLOSED` from now on. Idempotent, never rejects. */
  close(): Promise<void> {
    this.#closing ??= Promise.resolve().then(() => this.#close())
    return this.#closing
  }

  async #close(): Promise<void> {
    const { capability, backend, callTimeoutMs, report } = this.#context
    const left = await this.drain(callTimeoutMs)
    this.#replays.end()
    this.#breaker.end()
    if (left === 0) return
    report(
      new MultinodeError(
        'LOST',
        `${capability} on ${backend}: closed with ${left} invalidations that the backend did not hear of: ` +
          'other nodes may read the old values until these expire.',
        { capability, backend, details: { left } },
      ),
    )
  }

  #invalidateOnce(space: CacheSpace, what: Invalidation, timeoutMs: number): Promise<void> {
    if ('keys' in what) return this.#settled('delete', timeoutMs, (ms) => space.delete(what.keys, ms))
    if ('tags' in what)
      return this.#settled('invalidateTags', timeoutMs, (ms) => space.invalidateTags(what.tags, ms))
    return this.#settled('clear', timeoutMs, (ms) => space.clear(ms))
  }

  // Not async: each layer of that costs as much as a timer.
  #settled<T>(operation: string, timeoutMs: number, work: (timeoutMs: number) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        const { capability, backend } = this.#context
        const wrapped = toDriverError(error, { capability, backend, operation })
        if (isAway(wrapped)) {
          this.#failures += 1
          this.#breaker.failed(wrapped)
        }
        reject(wrapped)
      }
      const pending = this.#deadlines.begin(timeoutMs * 1.05, () => fail(this.#late(operation, timeoutMs)))
      const failUnlessOver = (error: unknown): void => {
        if (pending.isOver) return
        pending.isOver = true
        fail(error)
      }
      try {
        // A driver in plain JavaScript may return without a promise.
        Promise.resolve(work(timeoutMs)).then((value) => {
          if (pending.isOver) return
          pending.isOver = true
          this.#breaker.succeeded()
          resolve(value)
        }, failUnlessOver)
      } catch (error) {
        failUnlessOver(error)
      }
    })
  }

  #refusal(operation: string): MultinodeError {
    const { capability, backend } = this.#context
    this.#refused += 1
    const context = { capability, backend, outcome: 'not-sent', details: { operation } } as const
    if (this.#closing !== undefined) {
      return new MultinodeError(
        'CLOSED',
        `${capability}: ${operation}: the cluster object was closed.`,
        context,
      )
    }
    if (this.#breaker.isOpen) {
      return new MultinodeError(
        'UNAVAILABLE',
        `${capability} on ${backend}: ${operation} was not sent, because the backend did not answer the calls before it. It is asked again in the background.`,
        { ...context, cause: this.#breaker.lastFailure },
      )
    }
    return new MultinodeError(
      'UNAVAILABLE',
      `${capability} on ${backend}: ${operation} was not sent, because ${this.#replays.size} invalidations wait for the backend.`,
      context,
    )
  }

  #late(operation: string, timeoutMs: number): MultinodeError {
    const { capability, backend } = this.#context
    return new MultinodeError(
      'TIMEOUT',
      `${capability} on ${backend}: ${operation} was not answered within ${timeoutMs} ms. It may still take effect.`,
      { capability, backend, outcome: 'unknown', details: { operation, timeoutMs } },
    )
  }
}

function isAway(error: unknown): error is MultinodeError {
  return isMultinodeError(error) && (error.code === 'UNAVAILABLE' || error.code === 'TIMEOUT')
}
