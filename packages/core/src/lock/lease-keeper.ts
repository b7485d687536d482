import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel'
import { MultinodeError } from '../errors/multinode-error.ts'
import { checkFunction, checkKey, checkKnownOptions, checkMs, checkSignal } from '../runtime/check.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { DriverCalls } from '../runtime/driver-calls.ts'
import { Acquisition, type AcquisitionRequest, type Acquired } from './acquisition.ts'
import { type Grant, Lease, type LeaseOwner, minTtlMs } from './lease.ts'
import {
  type AcquireOptions,
  acquireOptionNames,
  defaultTtlMs,
  defaultWaitMs,
  type TryAcquireOptions,
} from './lease-options.ts'
import type { HeldTarget, LeaseTarget } from './lease-target.ts'
import type { ExtendReply, LockDriver, ReleaseReply } from './lock-driver.ts'
import { Renewal } from './renewal.ts'

/** Counters since start, and what is so now. */
export interface LockStats {
  readonly acquired: number
  readonly refused: number
  readonly released: number
  readonly lost: number
  readonly held: number
  readonly waiting: number
}

/** What was asked for and is not answered yet. */
interface Waiting {
  readonly key: string
  /** Makes it reject with `reason` now. */
  end(reason: MultinodeError): void
}

/** A lease that is extended again and again. */
export interface RenewedLease {
  readonly lease: Lease
  readonly renewal: Renewal
}

const acquireChannel: TracingChannel = tracingChannel('multinode:lock.acquire')
const releaseChannel: TracingChannel = tracingChannel('multinode:lock.release')
const extendChannel: TracingChannel = tracingChannel('multinode:lock.extend')

/**
 * Takes leases for the portable types, keeps them, and gives them back: the life of all locks of one cluster object, of whatever
 * kind they are.
 */
export class LeaseKeeper {
  readonly #driver: LockDriver
  readonly #context: CapabilityContext
  readonly #calls: DriverCalls
  readonly #leases = new Set<Lease>()
  readonly #waiting = new Map<Waiting, Promise<unknown>>()
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

  /** Runs the routine with a lease that is renewed, and gives it back: see {@link Locks.run}. */
  async run<T>(
    target: LeaseTarget,
    routine: (lease: Lease) => T | Promise<T>,
    options: AcquireOptions,
  ): Promise<T> {
    checkFunction('routine', routine)
    checkKnownOptions('run', options, acquireOptionNames)
    const lease = await this.acquire(target, options)
    return this.runWith(lease, [{ lease, renewal: this.renew(lease) }], () => routine(lease))
  }

  /** The second half of {@link run}, for leases that are held and renewed already. */
  async runWith<T>(
    held: Pick<Lease, 'signal' | 'throwIfLost'>,
    renewed: readonly RenewedLease[],
    routine: () => T | Promise<T>,
  ): Promise<T> {
    try {
      const result = await routine()
      held.throwIfLost()
      return result
    } catch (error) {
      throw held.signal.aborted && isAbortError(error) ? held.signal.reason : error
    } finally {
      await this.giveBack(renewed)
    }
  }

  /** Never rejects: what cannot be released is reported, and runs out. */
  async giveBack(renewed: readonly RenewedLease[]): Promise<void> {
    for (const { renewal } of renewed) renewal.stop()
    if (this.#closed) return
    await Promise.all(renewed.map(({ lease }) => lease.release().catch(this.#context.report)))
  }

  acquire(target: LeaseTarget, options: AcquireOptions): Promise<Lease> {
    return acquireChannel.hasSubscribers
      ? this.#tracedAcquire(target, options)
      : this.#acquire(target, options)
  }

  tryAcquire(target: LeaseTarget, options: TryAcquireOptions): Promise<Lease | null> {
    return acquireChannel.hasSubscribers
      ? this.#tracedTryAcquire(target, options)
      : this.#tryAcquire(target, options)
  }

  stats(): LockStats {
    return {
      acquired: this.#acquired,
      refused: this.#refused,
      released: this.#released,
      lost: this.#lost,
      held: this.#leases.size,
      waiting: this.#waiting.size,
    }
  }

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
    const left = [...this.#leases, ...this.#waiting.keys()].map(({ key }) => key)
    this.#drained = true
    for (const waiting of this.#waiting.keys()) waiting.end(this.#closedError())
    for (const lease of this.#leases) lease.abandon('the cluster object was drained')
    return left
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const waiting of this.#waiting.keys()) waiting.end(this.#closedError())
    for (const lease of this.#leases) lease.abandon('the cluster object was closed')
    await Promise.allSettled(this.#waiting.values())
    await Promise.allSettled(this.#farewells)
  }

  // Traced calls are methods of their own: a closure in the usual path would be allocated on every call.
  #tracedAcquire(target: LeaseTarget, options: AcquireOptions): Promise<Lease> {
    return acquireChannel.tracePromise(() => this.#acquire(target, options), this.#traceContext(target))
  }

  #tracedTryAcquire(target: LeaseTarget, options: TryAcquireOptions): Promise<Lease | null> {
    return acquireChannel.tracePromise(() => this.#tryAcquire(target, options), this.#traceContext(target))
  }

  async #acquire(target: LeaseTarget, options: AcquireOptions): Promise<Lease> {
    checkKnownOptions('acquire', options, acquireOptionNames)
    checkSignal('signal', options.signal)
    const waitMs = checkMs('waitMs', options.waitMs ?? defaultWaitMs, { min: 0 })
    const request = this.#request(target, options.ttlMs, waitMs, options.signal)
    return this.#carryOut(target, request, async (acquisition) =>
      this.#toLease(target, request, await acquisition.untilGranted()),
    )
  }

  async #tryAcquire(target: LeaseTarget, options: TryAcquireOptions): Promise<Lease | null> {
    checkKnownOptions('tryAcquire', options, ['ttlMs'])
    const request = this.#request(target, options.ttlMs, 0, undefined)
    return this.#carryOut(target, request, async (acquisition) => {
      const acquired = await acquisition.once()
      if (acquired !== undefined) return this.#toLease(target, request, acquired)
      this.#refused += 1
      return null
    })
  }

  #request(
    { key }: LeaseTarget,
    ttlMs: number = defaultTtlMs,
    waitMs: number,
    signal: AbortSignal | undefined,
  ): AcquisitionRequest {
    checkKey('key', key)
    checkMs('ttlMs', ttlMs, { min: minTtlMs })
    this.assertOpen()
    return { key, owner: this.newOwner(), ttlMs, waitMs, signal }
  }

  /** @throws `CLOSED` when nothing new is given any more */
  assertOpen(): void {
    if (this.#closed || this.#drained) throw this.#closedError()
  }

  /** An id that no other acquisition in the cluster has. */
  newOwner(): string {
    this.#ownerCount += 1
    return `${this.#context.node.incarnation}:${this.#ownerCount}`
  }

  /** Undoes at the backend whatever `work` asked for, when it rejects. Not idle until the lease that it makes is counted. */
  async #carryOut<T>(
    target: LeaseTarget,
    request: AcquisitionRequest,
    work: (acquisition: Acquisition) => Promise<T>,
  ): Promise<T> {
    const acquisition = new Acquisition(request, target, this.#driver, this.#calls, this.#context)
    const working = work(acquisition)
    this.#waiting.set(acquisition, working)
    try {
      return await working
    } catch (error) {
      this.#refused += 1
      if (acquisition.mayBeKnown) this.#cancel(target, request)
      throw error
    } finally {
      this.#waiting.delete(acquisition)
      this.#noteIdle()
    }
  }

  /** Draining waits for `work`, and ends it at its deadline; closing ends it at once. It undoes itself what it asked for. */
  async whileWaiting<T>(waiting: Waiting, work: Promise<T>): Promise<T> {
    this.#waiting.set(waiting, work)
    try {
      return await work
    } finally {
      this.#waiting.delete(waiting)
      this.#noteIdle()
    }
  }

  #cancel({ verbs, driverKey }: LeaseTarget, { owner }: AcquisitionRequest): void {
    this.insistInBackground('cancel', (timeoutMs) => verbs.cancel(driverKey, owner, timeoutMs))
  }

  /** For what undoes: the caller has its answer, and a failure only keeps the next owner waiting for one ttl. */
  insistInBackground(operation: string, work: (timeoutMs: number) => Promise<unknown>): void {
    const insisting = this.#calls.insist(operation, work, () => !this.#closed)
    void this.#untilSaid(insisting).catch(this.#context.report)
  }

  #toLease(target: LeaseTarget, { owner, ttlMs }: AcquisitionRequest, { token, sentAt }: Acquired): Lease {
    return this.keep(target, owner, { key: target.key, token, ttlMs, sentAt })
  }

  /**
   * Makes a lease of a grant, and answers for it from now on.
   * @throws `CLOSED` when it came too late
   */
  keep(target: HeldTarget, owner: string, grant: Grant): Lease {
    this.assertOpen()
    const lease = new Lease(grant, this.#leaseOwner(target, owner))
    this.#leases.add(lease)
    this.#acquired += 1
    return lease
  }

  /** Extends the lease again and again until stopped. */
  renew(lease: Lease): Renewal {
    return new Renewal(lease, this.#context.callTimeoutMs, this.#context.clock)
  }

  #leaseOwner(target: HeldTarget, owner: string): LeaseOwner {
    const { clock, callTimeoutMs, report } = this.#context
    return {
      clock,
      callTimeoutMs,
      report,
      extend: (ttlMs, timeoutMs) => this.#extend(target, owner, ttlMs, timeoutMs),
      release: () => this.#release(target, owner),
      ended: (lease, how) => {
        this.#leases.delete(lease)
        if (how === 'lost') this.#lost += 1
        this.#noteIdle()
      },
    }
  }

  #extend(target: HeldTarget, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply> {
    return extendChannel.hasSubscribers
      ? this.#tracedExtend(target, owner, ttlMs, timeoutMs)
      : this.#sendExtend(target, owner, ttlMs, timeoutMs)
  }

  #tracedExtend(target: HeldTarget, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply> {
    return extendChannel.tracePromise(
      () => this.#sendExtend(target, owner, ttlMs, timeoutMs),
      this.#traceContext(target),
    )
  }

  #sendExtend(target: HeldTarget, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply> {
    return this.#calls.call('extend', timeoutMs, () =>
      target.verbs.extend(target.driverKey, owner, ttlMs, timeoutMs),
    )
  }

  async #release(target: HeldTarget, owner: string): Promise<ReleaseReply> {
    if (this.#closed) throw this.#closedError()
    const reply = await this.#untilSaid(
      releaseChannel.hasSubscribers ? this.#tracedRelease(target, owner) : this.#sendRelease(target, owner),
    )
    if (reply === 'released') this.#released += 1
    return reply
  }

  #tracedRelease(target: HeldTarget, owner: string): Promise<ReleaseReply> {
    return releaseChannel.tracePromise(() => this.#sendRelease(target, owner), this.#traceContext(target))
  }

  #sendRelease(target: HeldTarget, owner: string): Promise<ReleaseReply> {
    return this.#calls.insist(
      'release',
      (timeoutMs) => target.verbs.release(target.driverKey, owner, timeoutMs),
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
    return this.#leases.size > 0 || this.#waiting.size > 0
  }

  #traceContext({ key }: Pick<LeaseTarget, 'key'>): { key: string; backend: string } {
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
