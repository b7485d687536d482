import type { Capability } from '../capability.ts'
import { checkVerbs } from '../registry/driver.ts'
import { memoryQueue } from './memory-queue.ts'
import type { QueueDriver } from './queue-driver.ts'
import { Queues } from './queues.ts'

const verbs: readonly (keyof QueueDriver)[] = ['open']

export const queueCapability: Capability<Queues> = {
  name: 'queue',
  memory: memoryQueue,
  portable(driver, context) {
    checkVerbs<QueueDriver>(driver, verbs, context)
    return new Queues(driver, context)
  },
}
