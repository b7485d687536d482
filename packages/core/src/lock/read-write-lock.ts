import type { AcquireOptions } from './lease-options.ts'
import type { Lease } from './lease.ts'
import type { LeaseKeeper } from './lease-keeper.ts'
import type { LeaseTarget } from './lease-target.ts'

/**
 * A lock that many may hold to read, or one to write. Readers and writers wait in one queue in the order in which they asked, so neither
 * starves: a reader who comes after a waiting writer waits for it.
 *
 * Those who read at the same time have the same token; a writer's is greater than those of all before.
 */
export class ReadWriteLock {
  readonly key: string
  readonly #keeper: LeaseKeeper
  readonly #reading: LeaseTarget
  readonly #writing: LeaseTarget

  constructor(keeper: LeaseKeeper, reading: LeaseTarget, writing: LeaseTarget) {
    this.key = reading.key
    this.#keeper = keeper
    this.#reading = reading
    this.#writing = writing
  }

  /** As {@link Locks.run}, beside other readers. */
  read<T>(routine: (lease: Lease) => T | Promise<T>, options: AcquireOptions = {}): Promise<T> {
    return this.#keeper.run(this.#reading, routine, options)
  }

  /** As {@link Locks.run}, alone. */
  write<T>(routine: (lease: Lease) => T | Promise<T>, options: AcquireOptions = {}): Promise<T> {
    return this.#keeper.run(this.#writing, routine, options)
  }
}
