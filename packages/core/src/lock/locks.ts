import { checkKey, checkKnownOptions, checkCount } from '../runtime/check.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { claimFire, type ClaimFireOptions, type FireClaim } from './fire-claim.ts'
import type { HeldLocks } from './held-locks.ts'
import type { Lease } from './lease.ts'
import { LeaseKeeper, type LockStats } from './lease-keeper.ts'
import type { AcquireOptions, TryAcquireOptions } from './lease-options.ts'
import type { LeaseTarget } from './lease-target.ts'
import type { LockDriver, SharedMode } from './lock-driver.ts'
import { ReadWriteLock } from './read-write-lock.ts'
import { runMany } from './run-many.ts'
import { Semaphore } from './semaphore.ts'
import { sharedTarget } from './shared-target.ts'

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
  readonly #keeper: LeaseKeeper

  constructor(driver: LockDriver, context: CapabilityContext) {
    this.#driver = driver
    this.#context = context
    this.#keeper = new LeaseKeeper(driver, context)
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
  run<T>(key: string, routine: (lease: Lease) => T | Promise<T>, options: AcquireOptions = {}): Promise<T> {
    return this.#keeper.run(this.#target(key), routine, options)
  }

  /**
   * Waits for the lock and returns the lease, which the caller must release (`await using` does). Not renewed by
   * itself: call {@link Lease.extend}. One round trip when nobody contends.
   * @throws `TIMEOUT` when others held it for all of `waitMs`, `UNAVAILABLE` when the backend was away for as long
   */
  acquire(key: string, options: AcquireOptions = {}): Promise<Lease> {
    return this.#keeper.acquire(this.#target(key), options)
  }

  /** As {@link acquire} without waiting: `null` when another holds the lock, or waits for it already. */
  tryAcquire(key: string, options: TryAcquireOptions = {}): Promise<Lease | null> {
    return this.#keeper.tryAcquire(this.#target(key), options)
  }

  /**
   * A lock that up to `permits` may hold at once. Keys are apart from those of other kinds of locks. Nothing is sent yet.
   * @throws `UNSUPPORTED` when the backend has none
   */
  semaphore(key: string, options: { readonly permits: number }): Semaphore {
    checkKey('key', key)
    checkKnownOptions('semaphore', options, ['permits'])
    const permits = checkCount('permits', options.permits, { min: 1, max: 1_000_000 })
    const target = sharedTarget(
      key,
      { kind: 'semaphore', mode: 'permit', permits },
      this.#driver,
      this.#context,
    )
    return new Semaphore(permits, this.#keeper, target)
  }

  /**
   * A lock that many may hold to read, or one to write. Keys are apart from those of other kinds of locks. Nothing is sent yet.
   * @throws `UNSUPPORTED` when the backend has none
   */
  readWrite(key: string): ReadWriteLock {
    checkKey('key', key)
    const target = (mode: SharedMode): LeaseTarget =>
      sharedTarget(key, { kind: 'readwrite', mode, permits: 1 }, this.#driver, this.#context)
    return new ReadWriteLock(this.#keeper, target('read'), target('write'))
  }

  /**
   * As {@link run} with several locks at once: all of them, or none. They are taken one after the other, in the order of their
   * keys, so that nobody waits in a circle; `waitMs` counts for all together. Those of {@link run} with the same keys exclude it, and
   * the reverse.
   */
  many<T>(
    keys: readonly string[],
    routine: (locks: HeldLocks) => T | Promise<T>,
    options: AcquireOptions = {},
  ): Promise<T> {
    return runMany(keys, routine, options, {
      keeper: this.#keeper,
      toTarget: (key) => this.#target(key),
      clock: this.#context.clock,
    })
  }

  /**
   * Claims one fire of a scheduled job for this node: of all nodes that claim the same fire, one is told `run`. The identity of a fire is when it
   * *should* happen, so neither clocks that disagree nor a job that ends quickly make it run twice. One round trip.
   *
   * @param job a name that all nodes share; its last fire is kept for ever
   * @param scheduledAt when the schedule says, not when the timer fired
   * @throws `CLOCK_SKEW` when `scheduledAt` is further ahead of the backend's clock than `maxSkewMs`, `UNSUPPORTED` when the backend has no jobs
   */
  claimFire(job: string, scheduledAt: Date | number, options: ClaimFireOptions): Promise<FireClaim> {
    return claimFire(job, scheduledAt, options, {
      driver: this.#driver,
      keeper: this.#keeper,
      context: this.#context,
    })
  }

  stats(): LockStats {
    return this.#keeper.stats()
  }

  /**
   * Resolves when nothing is held and nobody waits, at the latest after `deadlineMs`. Locks stay usable until then,
   * because the work that is being finished may need them; afterwards they are refused with `CLOSED`. Leases that are held at the deadline are lost: their signal is
   * aborted, and they run out on the server instead of being released, because their routine may still be running.
   * @returns the keys that were still held or waited for
   */
  drain(deadlineMs: number): Promise<string[]> {
    return this.#keeper.drain(deadlineMs)
  }

  /**
   * Ends all waiting with `CLOSED`, and takes it back at the backend. Leases that are still held are *not* released,
   * because their routine may still be running: their signal is aborted and they run out on the server. Idempotent.
   */
  close(): Promise<void> {
    return this.#keeper.close()
  }

  #target(key: string): LeaseTarget {
    return { key, driverKey: key, verbs: this.#driver }
  }
}
