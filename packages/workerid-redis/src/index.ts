import type { WorkerIdPlugin } from '@multinode/core'
import { redisWorkerIds } from './plugin.ts'

export { redisWorkerIds } from './plugin.ts'
export { RedisWorkerIds } from './redis-worker-ids.ts'

/** What core loads for `WORKERID_ADAPTER=redis`. */
const plugin: WorkerIdPlugin = redisWorkerIds()
export default plugin
