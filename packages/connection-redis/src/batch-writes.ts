import { Redis } from 'ioredis'
import type { RedisClient } from './create-client.ts'

/**
 * To be called after a command: further ones leave together, as soon as the running code and its promises are done. A system call
 * for each would cost more than all the rest of it.
 */
export function batchWrites(client: RedisClient): void {
  if (!(client instanceof Redis) || client.stream.writableCorked > 0) return
  const { stream } = client
  stream.cork()
  process.nextTick(() => stream.uncork())
}
