export { Lease } from './lease.ts'
export { Locks, type AcquireOptions, type LockStats, type TryAcquireOptions } from './locks.ts'
export type {
  AcquireReply,
  AcquireRequest,
  ExtendReply,
  LockDriver,
  LockFeatures,
  LockPlugin,
  ReleaseReply,
} from './lock-driver.ts'
