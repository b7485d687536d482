import { checkArray, checkFunction, checkKey, checkKnownOptions, checkMs } from '../runtime/check.ts'
import type { Clock } from '../runtime/clock.ts'
import { MultinodeError } from '../errors/multinode-error.ts'
import { HeldLocks } from './held-locks.ts'
import { type AcquireOptions, acquireOptionNames, defaultWaitMs } from './lease-options.ts'
import type { LeaseKeeper, RenewedLease } from './lease-keeper.ts'
import type { LeaseTarget } from './lease-target.ts'

/** The whole of {@link Locks.many}. */
export async function runMany<T>(
  keys: readonly string[],
  routine: (locks: HeldLocks) => T | Promise<T>,
  options: AcquireOptions,
  { keeper, toTarget, clock }: { keeper: LeaseKeeper; toTarget: (key: string) => LeaseTarget; clock: Clock },
): Promise<T> {
  checkFunction('routine', routine)
  checkKnownOptions('many', options, acquireOptionNames)
  const untilMs = clock.monotonicMs() + checkMs('waitMs', options.waitMs ?? defaultWaitMs, { min: 0 })
  const taken: RenewedLease[] = []
  try {
    for (const key of inOrder(keys)) {
      const waitMs = Math.max(0, Math.floor(untilMs - clock.monotonicMs()))
      const lease = await keeper.acquire(toTarget(key), { ...options, waitMs })
      // The first ones must not run out while the last ones are waited for.
      taken.push({ lease, renewal: keeper.renew(lease) })
    }
  } catch (error) {
    await keeper.giveBack(taken)
    throw error
  }
  const locks = new HeldLocks(taken.map(({ lease }) => lease))
  return keeper.runWith(locks, taken, () => {
    locks.throwIfLost()
    return routine(locks)
  })
}

/** All who take several locks in the same order never wait for each other in a circle. */
function inOrder(keys: readonly string[]): string[] {
  checkArray('keys', keys)
  for (const key of keys) checkKey('keys', key)
  if (keys.length === 0) {
    throw new MultinodeError('INVALID_ARGUMENT', 'keys is empty; name at least one.', { capability: 'lock' })
  }
  return [...new Set(keys)].toSorted()
}
