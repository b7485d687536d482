import type { Cache } from './cache/cache.ts'
import { cacheCapability } from './cache/capability.ts'
import type { Capability } from './capability.ts'
import { lockCapability } from './lock/capability.ts'
import type { Locks } from './lock/locks.ts'
import { pubsubCapability } from './pubsub/capability.ts'
import type { PubSub } from './pubsub/pubsub.ts'
import { queueCapability } from './queue/capability.ts'
import type { Queues } from './queue/queues.ts'
import { workerIdCapability } from './worker-id/capability.ts'
import type { WorkerIds } from './worker-id/worker-ids.ts'

/** The portable type of each capability. A new one is added here, in `capabilities`, and as a getter of `Cluster`. */
export interface PortableTypes {
  pubsub: PubSub
  queue: Queues
  lock: Locks
  cache: Cache
  workerid: WorkerIds
}

export const capabilities: { readonly [N in keyof PortableTypes]: Capability<PortableTypes[N]> } = {
  pubsub: pubsubCapability,
  queue: queueCapability,
  lock: lockCapability,
  cache: cacheCapability,
  workerid: workerIdCapability,
}
