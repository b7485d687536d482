export type { AcquireWorkerIdOptions } from './acquire-options.ts'
export type { TimestampWindow } from './timestamp-window.ts'
export type {
  ClaimRequest,
  LeaseTerms,
  RenewReply,
  RenewRequest,
  WindowReply,
  WorkerHolder,
  WorkerIdDriver,
  WorkerIdFeatures,
  WorkerIdPlugin,
  WorkerIdReply,
  WorkerIdRequest,
} from './worker-id-driver.ts'
export { type WorkerIdStats, WorkerIds } from './worker-ids.ts'
export type { WorkerLease } from './worker-lease.ts'
