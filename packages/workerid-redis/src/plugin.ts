import { checkRedisOptions, openRedis, type RedisOptions } from '@multinode/connection-redis'
import { pluginApi, type WorkerIdPlugin } from '@multinode/core'
import { RedisWorkerIds } from './redis-worker-ids.ts'

/** Registers worker ids on Redis in code: `createCluster({ plugins: [redisWorkerIds({ url })] })`. */
export function redisWorkerIds(options: RedisOptions = {}): WorkerIdPlugin {
  return {
    kind: 'multinode-plugin',
    api: pluginApi,
    capability: 'workerid',
    backend: 'redis',
    options: checkRedisOptions('redisWorkerIds', options),
    create: async (context) => new RedisWorkerIds(await openRedis(options, context), context),
  }
}
