export { checkRedisOptions, openRedis, type RedisOptions } from './open-redis.ts'
export type { RedisClient } from './create-client.ts'
export {
  formatTarget,
  parseRedisUrl,
  type RedisEndpoint,
  type RedisTarget,
  type RedisTls,
} from './redis-address.ts'
export { RedisConnection, type RedisConnectionParts } from './redis-connection.ts'
export { toRedisError, type RedisErrorOrigin } from './redis-errors.ts'
export { slotPrefix } from './redis-keys.ts'
export { RedisScript } from './redis-script.ts'
