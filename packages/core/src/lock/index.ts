export type { ClaimFireOptions, FireClaim } from './fire-claim.ts'
export type { HeldLocks } from './held-locks.ts'
export { Lease } from './lease.ts'
export type { LockStats } from './lease-keeper.ts'
export type { AcquireOptions, TryAcquireOptions } from './lease-options.ts'
export { Locks } from './locks.ts'
export type {
  AcquireReply,
  AcquireRequest,
  ExtendReply,
  FireReply,
  FireRequest,
  JobDriver,
  LeaseVerbs,
  LockDriver,
  LockFeatures,
  LockPlugin,
  ReleaseReply,
  SharedAcquireRequest,
  SharedLockDriver,
  SharedMode,
} from './lock-driver.ts'
export type { ReadWriteLock } from './read-write-lock.ts'
export type { Semaphore } from './semaphore.ts'
