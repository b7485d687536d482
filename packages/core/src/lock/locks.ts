import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel'
import { MultinodeError } from '../errors/multinode-error.ts'
import { checkFunction, checkKey, checkKnownOptions, checkMs, checkSignal } from '../runtime/check.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { DriverCalls } from '../runtime/driver-calls.ts'
import { Acquisition, type AcquisitionRequest, type Acquired } from './acquisition.ts'
import { Lease, type LeaseOwner, minTtlMs } from './lease.ts'
import type { ExtendReply, LockDriver, ReleaseReply } from './lock-driver.ts'
import { Renewal } from './renewal.ts'

export interface TryAcquireOptions {
  /** How long the lease lasts unless extended, in ms. Default 30,000; at least 10. */
  readonly ttlMs?: number
}

export interface AcquireOptions extends TryAcquireOptions {
  /** How long to wait while others hold the lock, in ms. Default 10,000; 0 asks once. */
  readonly waitMs?: number
  /** Ends the waiting (`ABORTED`) and leaves nothing behind in the queue. Has no effect once the lock is held. */
  readonly signal?: AbortSignal
}

/** Counters since start, and what is so now. */
export interface LockStats {
  readonly acquired: number
  readonly refused: number
  readonly released: number
  readonly lost: number
  readonly held: number
  readonly waiting: number
}

const acquireOptions: readonly (keyof AcquireOptions)[] = ['ttlMs', 'waitMs', 'signal']
const defaultTtlMs = 30_000
const defaultWaitMs = 10_000

const acquireChannel: TracingChannel = tracingChannel('multinode:lock.acquire')
const releaseChannel: TracingChannel = tracingChannel('multinode:lock.release')
const extendChannel: TracingChannel = tracingChannel('multinode:lock.extend')

/**
 * Locks by key for all nodes of the cluster, or for this process with the memory backend. A lock is a *lease*: it ends
 * by itself after its ttl, so that a dead holder blocks nobody for ever, and it says so on time ({@link Lease.signal}).
 *
 * Every call settles within the longer of `waitMs` and the cluster's `callTimeoutMs`, plus a tenth, whatever the
 * backend does. Publishes the tracing channels `multinode:lock.acquire`, `multinode:lock.extend` and
 * `multinode:lock.release`.
 */
export class Locks {
  readonly #driver: LockDriver
  readonly #context: CapabilityContext
  readonly #calls: DriverCalls
  readonly #leases = new Set<Lease>()
  readonly #acquisitions = new Map<Acquisition, Promise<unknown>>()
  /** Cancels and releases that are on their way: closing waits for them, because each that is cut off costs a ttl. */
  readonly #farewells = new Set<Promise<unknown>>()
  #closed = false
  #drained = false
  #onIdle: (() => void) | undefined
  #ownerCount = 0
  #acquired = 0
  #refused = 0
  #released = 0
  #lost = 0

  constructor(driver: LockDriver, context: CapabilityContext) {
    this.#driver = driver
    this.#context = context
    this.#calls = new DriverCalls(context)
  }

  /** The driver underneath, with its typed `native` client. */
  get driver(): LockDriver {
    return this.#driver
  }

  /**
   * Runs `routine` while holding the lock, and resolves with what it returned. The lease is renewed every third of its
   * ttl as long as the routine runs. Two round trips when nobody contends.
   *
   * When the lease is lost meanwhile, `lease.signal` is aborted, the routine is awaited to its end, and the call
   * rejects with `LOST`. An error that the routine throws is never replaced, except an `AbortError` that is only the
   * echo of that signal. A failed release is reported on the cluster's `error` event: the result is kept, the lock is free
   * after its ttl.
   */
  async run<T>(
    key: string,
    routine: (lease: Lease) => T | Promise<T>,
    options: AcquireOptions = {},
  ): Promise<T> {
    checkFunction('routine', routine)
    checkKnownOptions('run', options, acquireOptions)
    const lease = await this.acquire(key, options)
    const renewal = new Renewal(lease, this.#context.callTimeoutMs, this.#context.clock)
    try {
      const result = await routine(lease)
      lease.throwIfLost()
      return result
    } catch (error) {
      throw lease.signal.aborted && isAbortError(error) ? lease.signal.reason : error
    } finally {
      renewal.stop()
      if (!this.#closed) await lease.release().catch(this.#context.report)
    }
  }

  /**
   * Waits for the lock and returns the lease, which the caller must release (`await using` does). Not renewed by
   * itself: call {@link Lease.extend}. One round trip when nobody contends.
   * @throws `TIMEOUT` when others held it for all of `waitMs`, `UNAVAILABLE` when the backend was away for as long
   */
  acquire(key: string, options: AcquireOptions = {}): Promise<Lease> {
    return acquireChannel.hasSubscribers ? this.#tracedAcquire(key, options) : this.#acquire(key, options)
  }

  /** As {@link acquire} without waiting: `null` when another holds the lock, or waits for it already. */
  tryAcquire(key: string, options: TryAcquireOptions = {}): Promise<Lease | null> {
    return acquireChannel.hasSubscribers
      ? this.#tracedTryAcquire(key, options)
      : this.#tryAcquire(key, options)
  }

  stats(): LockStats {
    return {
      acquired: this.#acquired,
      refused: this.#refused,
      released: this.#released,
      lost: this.#lost,
      held: this.#leases.size,
      waiting: this.#acquisitions.size,
    }
  }

  /**
   * Resolves when nothing is held and nobody waits, at the latest after `deadlineMs`. Locks stay usable until then,
   * because the work that is being finished may need them; afterwards they are refused with `CLOSED`. Leases that are held at the deadline are lost: their signal is
   * aborted, and they run out on the server instead of being released, because their routine may still be running.
   * @returns the keys that were still held or waited for
   */
  async drain(deadlineMs: number): Promise<string[]> {
    if (this.#isBusy()) {
      await new Promise<void>((resolve) => {
        const timer = this.#context.clock.setTimer(resolve, deadlineMs, 'foreground')
        this.#onIdle = () => {
          timer.cancel()
          resolve()
        }
      })
    }
    const left = [...this.#leases, ...this.#acquisitions.keys()].map(({ key }) => key)
    this.#drained = true
    for (const acquisition of this.#acquisitions.keys()) acquisition.end(this.#closedError())
    for (const lease of this.#leases) lease.abandon('the cluster object was drained')
    return left
  }

  /**
   * Ends all waiting with `CLOSED`, and takes it back at the backend. Leases that are still held are *not* released,
   * because their routine may still be running: their signal is aborted and they run out on the server. Idempotent.
   */
  async close(): Promise<void> {
    this.#closed = true
    for (const acquisition of this.#acquisitions.keys()) acquisition.end(this.#closedError())
    for (const lease of this.#leases) lease.abandon('the cluster object was closed')
    await Promise.allSettled(this.#acquisitions.values())
    await Promise.allSettled(this.#farewells)
  }

  // Traced calls are methods of their own: a closure in the usual path would be allocated on every call.
  #tracedAcquire(key: string, options: AcquireOptions): Promise<Lease> {
    return acquireChannel.tracePromise(() => this.#acquire(key, options), this.#traceContext(key))
  }

  #tracedTryAcquire(key: string, options: TryAcquireOptions): Promise<Lease | null> {
    return acquireChannel.tracePromise(() => this.#tryAcquire(key, options), this.#traceContext(key))
  }

  async #acquire(key: string, options: AcquireOptions): Promise<Lease> {
    checkKnownOptions('acquire', options, acquireOptions)
    checkSignal('signal', options.signal)
    const waitMs = checkMs('waitMs', options.waitMs ?? defaultWaitMs, { min: 0 })
    const request = this.#request(key, options.ttlMs, waitMs, options.signal)
    return this.#carryOut(request, async (acquisition) =>
      this.#toLease(request, await acquisition.untilGranted()),
    )
  }

  async #tryAcquire(key: string, options: TryAcquireOptions): Promise<Lease | null> {
    checkKnownOptions('tryAcquire', options, ['ttlMs'])
    const request = this.#request(key, options.ttlMs, 0, undefined)
    return this.#carryOut(request, async (acquisition) => {
      const acquired = await acquisition.once()
      if (acquired !== undefined) return this.#toLease(request, acquired)
      this.#refused += 1
      return null
    })
  }

  #request(
    key: string,
    ttlMs: number = defaultTtlMs,
    waitMs: number,
    signal: AbortSignal | undefined,
  ): AcquisitionRequest {
    checkKey('key', key)
    checkMs('ttlMs', ttlMs, { min: minTtlMs })
    if (this.#closed || this.#drained) throw this.#closedError()
    this.#ownerCount += 1
    return { key, owner: `${this.#context.node.incarnation}:${this.#ownerCount}`, ttlMs, waitMs, signal }
  }

  /** Undoes at the backend whatever `work` asked for, when it rejects. Not idle until the lease that it makes is counted. */
  async #carryOut<T>(
    request: AcquisitionRequest,
    work: (acquisition: Acquisition) => Promise<T>,
  ): Promise<T> {
    const acquisition = new Acquisition(request, this.#driver, this.#calls, this.#context)
    const working = work(acquisition)
    this.#acquisitions.set(acquisition, working)
    try {
      return await working
    } catch (error) {
      this.#refused += 1
      if (acquisition.mayBeKnown) this.#cancel(request)
      throw error
    } finally {
      this.#acquisitions.delete(acquisition)
      this.#noteIdle()
    }
  }

  /** In the background: the caller has its answer, and a failure only keeps the next owner waiting for one ttl. */
  #cancel({ key, owner }: AcquisitionRequest): void {
    const cancelling = this.#calls.insist(
      'cancel',
      (timeoutMs) => this.#driver.cancel(key, owner, timeoutMs),
      () => !this.#closed,
    )
    void this.#untilSaid(cancelling).catch(this.#context.report)
  }

  #toLease({ key, owner, ttlMs }: AcquisitionRequest, { token, sentAt }: Acquired): Lease {
    if (this.#closed) throw this.#closedError()
    const lease = new Lease({ key, token, ttlMs, sentAt }, this.#leaseOwner(key, owner))
    this.#leases.add(lease)
    this.#acquired += 1
    return lease
  }

  #leaseOwner(key: string, owner: string): LeaseOwner {
    const { clock, callTimeoutMs, report } = this.#context
    return {
      clock,
      callTimeoutMs,
      report,
      extend: (ttlMs, timeoutMs) => this.#extend(key, owner, ttlMs, timeoutMs),
      release: () => this.#release(key, owner),
      ended: (lease, how) => {
        this.#leases.delete(lease)
        if (how === 'lost') this.#lost += 1
        this.#noteIdle()
      },
    }
  }

  #extend(key: string, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply> {
    return extendChannel.hasSubscribers
      ? this.#tracedExtend(key, owner, ttlMs, timeoutMs)
      : this.#sendExtend(key, owner, ttlMs, timeoutMs)
  }

  #tracedExtend(key: string, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply> {
    return extendChannel.tracePromise(
      () => this.#sendExtend(key, owner, ttlMs, timeoutMs),
      this.#traceContext(key),
    )
  }

  #sendExtend(key: string, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply> {
    return this.#calls.call('extend', timeoutMs, () => this.#driver.extend(key, owner, ttlMs, timeoutMs))
  }

  async #release(key: string, owner: string): Promise<ReleaseReply> {
    if (this.#closed) throw this.#closedError()
    const reply = await this.#untilSaid(
      releaseChannel.hasSubscribers ? this.#tracedRelease(key, owner) : this.#sendRelease(key, owner),
    )
    if (reply === 'released') this.#released += 1
    return reply
  }

  #tracedRelease(key: string, owner: string): Promise<ReleaseReply> {
    return releaseChannel.tracePromise(() => this.#sendRelease(key, owner), this.#traceContext(key))
  }

  #sendRelease(key: string, owner: string): Promise<ReleaseReply> {
    return this.#calls.insist(
      'release',
      (timeoutMs) => this.#driver.release(key, owner, timeoutMs),
      () => !this.#closed,
    )
  }

  async #untilSaid<T>(farewell: Promise<T>): Promise<T> {
    this.#farewells.add(farewell)
    try {
      return await farewell
    } finally {
      this.#farewells.delete(farewell)
    }
  }

  #noteIdle(): void {
    if (!this.#isBusy()) this.#onIdle?.()
  }

  #isBusy(): boolean {
    return this.#leases.size > 0 || this.#acquisitions.size > 0
  }

  #traceContext(key: string): { key: string; backend: string } {
    return { key, backend: this.#context.backend }
  }

  #closedError(): MultinodeError {
    return new MultinodeError(
      'CLOSED',
      'This cluster object was drained or closed and gives no locks any more: create a new one.',
      { capability: 'lock', backend: this.#context.backend },
    )
  }
}

function isAbortError(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}
