import type { QueuePlugin } from '@multinode/core'
import { redisQueue } from './plugin.ts'

export { redisQueue, type RedisQueueOptions } from './plugin.ts'
export { RedisQueue } from './redis-queue.ts'

/** What core loads for `QUEUE_ADAPTER=redis`. */
const plugin: QueuePlugin = redisQueue()
export default plugin
