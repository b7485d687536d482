import type { RedisClient } from './create-client.ts'

/** What finds a way for reads that may be behind. */
export interface ReadRouter {
  /** The client to read by now; `undefined` when it is the usual one. */
  client(): RedisClient | undefined
  close(): void
}
