import type { CachePlugin } from '@multinode/core'
import { redisCache } from './plugin.ts'

export { redisCache, type RedisCacheOptions } from './plugin.ts'
export { RedisCache } from './redis-cache.ts'

/** What core loads for `CACHE_ADAPTER=redis`. */
const plugin: CachePlugin = redisCache()
export default plugin
