import { checkRedisOptions, openRedis, type RedisOptions } from '@multinode/connection-redis'
import { MultinodeError, pluginApi, type QueuePlugin } from '@multinode/core'
import { RedisQueue } from './redis-queue.ts'

export interface RedisQueueOptions extends RedisOptions {
  /** Whether a server that may lose jobs, or whose clock is off, is refused instead of warned of. Default false. */
  readonly strict?: boolean
}

/** Registers queues on Redis in code: `createCluster({ plugins: [redisQueue({ url })] })`. */
export function redisQueue(options: RedisQueueOptions = {}): QueuePlugin {
  const { strict: isStrict = false, ...connection } = options
  if (typeof isStrict !== 'boolean') {
    throw new MultinodeError('INVALID_ARGUMENT', 'redisQueue: strict must be true or false.')
  }
  return {
    kind: 'multinode-plugin',
    api: pluginApi,
    capability: 'queue',
    backend: 'redis',
    options: { ...checkRedisOptions('redisQueue', connection), strict: isStrict },
    create: async (context) => RedisQueue.open(await openRedis(connection, context), context, isStrict),
  }
}
