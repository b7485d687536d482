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

/** Thrown through BullMQ: what became of each job of a pipeline, in order, because some were refused. */
export class PartlyAdded extends Error {
  readonly results: readonly (string | Error)[]

  constructor(results: readonly (string | Error)[]) {
    super('some jobs were not added')
    this.results = results
  }
}

type AddEntries = Parameters<RedisQueueBackend['addJobs']>[0]

/** BullMQ's backend, which would tell of a pipeline its first failure alone, as if none of its jobs were there. */
class PerJobBackend extends RedisQueueBackend {
  override async addJobs(entries: AddEntries): Promise<string[]> {
    const client = await this.queue.client
    const pipeline = client.pipeline()
    for (const { job, jobId, parentKeyOpts } of entries)
      void this.addJobToTransaction(pipeline, job, jobId, parentKeyOpts)
    const replies = (await pipeline.exec()) ?? []
    const results = replies.map(([error, id]) => error ?? String(id))
    const ids = results.filter((each) => typeof each === 'string')
    if (ids.length < results.length) throw new PartlyAdded(results)
    return ids
  }
}

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
    return new PerJobBackend(
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
