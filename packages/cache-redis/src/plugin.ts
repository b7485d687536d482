import { checkRedisOptions, openRedis, type RedisOptions } from '@multinode/connection-redis'
import { type CachePlugin, pluginApi } from '@multinode/core'
import { RedisCache } from './redis-cache.ts'

export type RedisCacheOptions = RedisOptions

/** Registers the cache on Redis in code: `createCluster({ plugins: [redisCache({ url })] })`. */
export function redisCache(options: RedisCacheOptions = {}): CachePlugin {
  return {
    kind: 'multinode-plugin',
    api: pluginApi,
    capability: 'cache',
    backend: 'redis',
    options: checkRedisOptions('redisCache', options),
    create: async (context) => RedisCache.open(await openRedis(options, context), context),
  }
}
