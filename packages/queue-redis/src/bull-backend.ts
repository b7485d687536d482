import type { RedisClient } from '@multinode/connection-redis'
import {
  type BackendFactory,
  type QueueBaseOptions,
  QueueKeys,
  RedisConnection as BullConnection,
  RedisQueueBackend,
} from 'bullmq'

/** The one queue of BullMQ under each prefix: the version of what is stored there. */
export const bullName = 'v1'

/**
 * Gives BullMQ clients of ours for everything. What it would make by itself is a copy of a client without our care for dead links and changing passwords. It
 * closes none of them.
 */
export function backendOn(
  prefix: string,
  main: RedisClient,
  blocking?: RedisClient,
): BackendFactory<RedisQueueBackend> {
  return (name, options) => {
    const keys = new QueueKeys(prefix)
    const named = { ...options, prefix }
    return new RedisQueueBackend(
      connectionOn(main, blocking !== undefined),
      name,
      keys.getKeys(name),
      (type) => keys.toKey(name, type),
      named,
      blocking === undefined ? undefined : connectionOn(blocking, true),
    )
  }
}

export function bullOptions(client: RedisClient): QueueBaseOptions {
  return { connection: client, skipVersionCheck: true, skipWaitingForReady: true }
}

function connectionOn(client: RedisClient, blocking: boolean): BullConnection {
  const connection = new BullConnection(client, {
    shared: true,
    blocking,
    // It would print warnings to the console; we have asked the server ourselves.
    skipVersionCheck: true,
    skipWaitingForReady: true,
  })
  // Without its check it takes the server for one that can block for whole seconds only, and delayed jobs would be late.
  const capable = { canDoubleTimeout: true, canBlockFor1Ms: false }
  void connection.client.then(
    () => (connection.capabilities = capable),
    () => {},
  )
  return connection
}
