import { checkRedisOptions, openRedis, type RedisOptions } from '@multinode/connection-redis'
import { type LockPlugin, pluginApi } from '@multinode/core'
import { RedisLock } from './redis-lock.ts'

/** Registers the lock on Redis in code: `createCluster({ plugins: [redisLock({ url })] })`. */
export function redisLock(options: RedisOptions = {}): LockPlugin {
  const registered = checkRedisOptions('redisLock', options)
  return {
    kind: 'multinode-plugin',
    api: pluginApi,
    capability: 'lock',
    backend: 'redis',
    options: registered,
    create: async (context) => new RedisLock(await openRedis(options, context), context.node.clusterName),
  }
}
