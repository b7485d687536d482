import type { CapabilityContext } from '../runtime/capability-context.ts'
import { unsupported } from '../errors/unsupported.ts'
import type { LeaseTarget } from './lease-target.ts'
import type { LeaseVerbs, LockDriver, SharedMode } from './lock-driver.ts'

export interface Sharing {
  readonly kind: 'semaphore' | 'readwrite'
  readonly mode: SharedMode
  readonly permits: number
}

/**
 * A target whose acquisitions are made in this mode.
 * @throws `UNSUPPORTED` when the backend has no shared locks
 */
export function sharedTarget(
  key: string,
  { kind, mode, permits }: Sharing,
  { shared }: LockDriver,
  context: CapabilityContext,
): LeaseTarget {
  if (shared === undefined) throw unsupported(context, `a ${kind === 'semaphore' ? kind : 'read-write lock'}`)
  const verbs: LeaseVerbs = {
    acquire: (request, timeoutMs) => shared.acquire({ ...request, mode, permits }, timeoutMs),
    extend: (driverKey, owner, ttlMs, timeoutMs) => shared.extend(driverKey, owner, ttlMs, timeoutMs),
    release: (driverKey, owner, timeoutMs) => shared.release(driverKey, owner, timeoutMs),
    cancel: (driverKey, owner, timeoutMs) => shared.cancel(driverKey, owner, timeoutMs),
  }
  return { key, driverKey: `${kind}:${key}`, verbs }
}
