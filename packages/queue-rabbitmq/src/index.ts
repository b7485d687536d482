import type { QueuePlugin } from '@multinode/core'
import { rabbitmqQueue } from './plugin.ts'

export { rabbitmqQueue, type RabbitmqQueueOptions } from './plugin.ts'
export { RabbitmqQueue } from './rabbitmq-queue.ts'

/** What core loads for `QUEUE_ADAPTER=rabbitmq`. */
const plugin: QueuePlugin = rabbitmqQueue()
export default plugin
