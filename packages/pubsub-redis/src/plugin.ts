import { checkRedisOptions, openRedis, type RedisOptions } from '@multinode/connection-redis'
import { checkCount, type PubSubPlugin, pluginApi } from '@multinode/core'
import { RedisPubSub } from './redis-pubsub.ts'

export interface RedisPubSubOptions extends RedisOptions {
  /** About how many signals are kept for nodes that were away for a moment. Default 10,000. */
  readonly logLength?: number
  /** How many logs the topics are spread over; signals are in order in each. The same on all nodes. Default 1. */
  readonly shards?: number
}

/** Registers signals on Redis in code: `createCluster({ plugins: [redisPubSub({ url })] })`. */
export function redisPubSub(options: RedisPubSubOptions = {}): PubSubPlugin {
  const { logLength, shards, ...connection } = options
  const settings = {
    logLength: checkCount('logLength', logLength ?? 10_000, { min: 100, max: 10_000_000 }),
    shards: checkCount('shards', shards ?? 1, { min: 1, max: 64 }),
  }
  return {
    kind: 'multinode-plugin',
    api: pluginApi,
    capability: 'pubsub',
    backend: 'redis',
    options: { ...checkRedisOptions('redisPubSub', connection), ...settings },
    create: async (context) => new RedisPubSub(await openRedis(connection, context), context, settings),
  }
}
