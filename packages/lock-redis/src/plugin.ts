import { checkRedisOptions, openRedis, type RedisOptions } from '@multinode/connection-redis'
import { checkCount, checkMs, type LockPlugin, pluginApi } from '@multinode/core'
import { LockServer } from './lock-server.ts'
import { RedisLock } from './redis-lock.ts'

export interface RedisLockOptions extends RedisOptions {
  /** How many replicas must have a lock before it counts as granted; fewer in time are `UNAVAILABLE`. Default 0. */
  readonly replicas?: number
  /** How long the last token of a lock is remembered that nobody uses, in ms. Default one hour. */
  readonly tokenTtlMs?: number
}

/** Registers the lock on Redis in code: `createCluster({ plugins: [redisLock({ url })] })`. */
export function redisLock(options: RedisLockOptions = {}): LockPlugin {
  const { replicas, tokenTtlMs, ...connection } = options
  const server = {
    replicas: checkCount('replicas', replicas ?? 0, { min: 0, max: 100 }),
    tokenTtlMs: checkMs('tokenTtlMs', tokenTtlMs ?? 3_600_000, { min: 1 }),
  }
  return {
    kind: 'multinode-plugin',
    api: pluginApi,
    capability: 'lock',
    backend: 'redis',
    options: { ...checkRedisOptions('redisLock', connection), ...server },
    create: async (context) =>
      new RedisLock(new LockServer(await openRedis(connection, context), context, server)),
  }
}
