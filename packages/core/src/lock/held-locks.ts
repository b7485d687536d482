import { MultinodeError } from '../errors/multinode-error.ts'
import type { Lease } from './lease.ts'

/** Several leases that are held together: lost as soon as one of them is. */
export class HeldLocks {
  readonly leases: ReadonlyMap<string, Lease>
  /** Aborted, with a `LOST` error as its reason, as soon as one of the leases is lost. */
  readonly signal: AbortSignal

  constructor(leases: readonly Lease[]) {
    this.leases = new Map(leases.map((lease) => [lease.key, lease]))
    this.signal = AbortSignal.any(leases.map((lease) => lease.signal))
  }

  /** True while all are certainly ours. */
  get held(): boolean {
    return [...this.leases.values()].every((lease) => lease.held)
  }

  /** Milliseconds until the first deadline of them; 0 once one is lost or released. */
  remainingMs(): number {
    return Math.min(...[...this.leases.values()].map((lease) => lease.remainingMs()))
  }

  /** The fencing token of one of the keys. */
  token(key: string): number {
    const lease = this.leases.get(key)
    if (lease !== undefined) return lease.token
    throw new MultinodeError(
      'INVALID_ARGUMENT',
      `The key ${JSON.stringify(key)} is not among those that are held: ${[...this.leases.keys()].join(', ')}.`,
      { capability: 'lock', details: { key } },
    )
  }

  /** Throws `LOST` unless all are certainly ours. */
  assertHeld(): void {
    for (const lease of this.leases.values()) lease.assertHeld()
  }

  /** As {@link assertHeld}, but content with leases that were released. */
  throwIfLost(): void {
    for (const lease of this.leases.values()) lease.throwIfLost()
  }
}
