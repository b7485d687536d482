export type { AddOptions } from './add-options.ts'
export type { BackoffOptions } from './backoff.ts'
export type { DeadLetter, DeadLetters } from './dead-letters.ts'
export type { AbortReason, Job } from './job.ts'
export type { ProcessOptions } from './process-options.ts'
export type { AddManyResult, AddResult, CancelResult, JobInfo, Queue } from './queue.ts'
export type {
  AddReply,
  BackoffSettings,
  ConsumeOptions,
  Consumer,
  DeadJob,
  DeadReason,
  Delivery,
  Failure,
  JobPriority,
  JobReceiver,
  JobRecord,
  NewJob,
  QueueCounts,
  QueueDefinition,
  QueueDriver,
  QueueFeatures,
  QueueLine,
  QueuePlugin,
  Settlement,
  StoredJob,
} from './queue-driver.ts'
export type { QueueEvents, QueueListener } from './queue-events.ts'
export type { JobPolicy, QueueOptions } from './queue-options.ts'
export type { QueueStats } from './queue-stats.ts'
export { Queues } from './queues.ts'
export { RetryLater, UnrecoverableJobError } from './steering.ts'
export type { JobHandler, Worker } from './worker.ts'
