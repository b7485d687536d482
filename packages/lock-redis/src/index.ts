import type { LockPlugin } from '@multinode/core'
import { redisLock } from './plugin.ts'

export { redisLock, type RedisLockOptions } from './plugin.ts'
export { RedisLock } from './redis-lock.ts'

/** What core loads for `LOCK_ADAPTER=redis`. */
const plugin: LockPlugin = redisLock()
export default plugin
