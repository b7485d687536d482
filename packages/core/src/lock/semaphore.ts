import type { AcquireOptions, TryAcquireOptions } from './lease-options.ts'
import type { Lease } from './lease.ts'
import type { LeaseKeeper } from './lease-keeper.ts'
import type { LeaseTarget } from './lease-target.ts'

/**
 * A lock that up to {@link permits} may hold at once, each with a lease and a token of its own. Waiters are served in the order in
 * which they asked. Where nodes name different numbers for one key, that of whoever asks counts.
 */
export class Semaphore {
  readonly key: string
  readonly permits: number
  readonly #keeper: LeaseKeeper
  readonly #target: LeaseTarget

  constructor(permits: number, keeper: LeaseKeeper, target: LeaseTarget) {
    this.key = target.key
    this.permits = permits
    this.#keeper = keeper
    this.#target = target
  }

  /** As {@link Locks.run}. */
  run<T>(routine: (lease: Lease) => T | Promise<T>, options: AcquireOptions = {}): Promise<T> {
    return this.#keeper.run(this.#target, routine, options)
  }

  /** As {@link Locks.acquire}. */
  acquire(options: AcquireOptions = {}): Promise<Lease> {
    return this.#keeper.acquire(this.#target, options)
  }

  /** As {@link Locks.tryAcquire}: `null` when no permit is free, or others wait for one already. */
  tryAcquire(options: TryAcquireOptions = {}): Promise<Lease | null> {
    return this.#keeper.tryAcquire(this.#target, options)
  }
}
