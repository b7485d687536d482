import type { LockPlugin } from '@multinode/core'
import { redisLock } from './plugin.ts'

export { redisLock } from './plugin.ts'
export { RedisLock } from './redis-lock.ts'
export type { RedisOptions } from '@multinode/connection-redis'

/** What core loads for `LOCK_ADAPTER=redis`. */
const plugin: LockPlugin = redisLock()
export default plugin
