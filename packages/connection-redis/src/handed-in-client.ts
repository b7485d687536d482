import type { PluginContext, Share } from '@multinode/core'
import type { Cluster } from 'ioredis'
import { closeMs, type RedisClient, repeatsForLong, repeatsNothing } from './create-client.ts'
import { type DuplicateOptions, RedisConnection } from './redis-connection.ts'
import { formatTarget, type RedisEndpoint } from './redis-target.ts'
import { tendLinks } from './tend-links.ts'
import { readyWithinMs, whenReady } from './when-ready.ts'

/** A connection on a client of the app, which stays open and keeps its own settings; its commands have our deadlines. */
export async function useClient(
  client: RedisClient,
  context: PluginContext,
): Promise<Share<RedisConnection>> {
  // One that its owner has closed stays so, and the PING says it.
  const isSettled = ['ready', 'end'].includes(client.status)
  if (!isSettled) await whenReady(client, addressOf(client), 'client', context)
  const connection = toConnection(client, false, client, context)
  if (isSettled) await connection.ping(readyWithinMs(context))
  return { connection, release: async () => {} }
}

function toConnection(
  client: RedisClient,
  ownsClient: boolean,
  original: RedisClient,
  context: PluginContext,
): RedisConnection {
  return new RedisConnection({
    client,
    address: addressOf(original),
    clock: context.clock,
    ownsClient,
    retry: { most: 0, backoffMs: () => 0 },
    reads: undefined,
    failoverWatch: undefined,
    reopen: (options) => openAnother(original, options, context),
  })
}

async function openAnother(
  original: RedisClient,
  { blockMs = 0, resends = false, signal }: DuplicateOptions,
  context: PluginContext,
): Promise<RedisConnection> {
  const client = duplicateOf(original, context.callTimeoutMs * 2 + blockMs, resends)
  tendLinks(client, context.clock)
  const connection = toConnection(client, true, original, context)
  try {
    await whenReady(client, connection.address, 'client', {
      ...context,
      signal: signal ?? context.signal,
    })
  } catch (error) {
    await connection.close()
    throw error
  }
  return connection
}

/** With all that could keep a command from settling turned off, whatever the app's own has. */
function duplicateOf(client: RedisClient, socketTimeout: number, resends: boolean): RedisClient {
  const tamed = {
    maxRetriesPerRequest: resends ? null : 0,
    autoResendUnfulfilledCommands: resends,
    autoResubscribe: false,
    disconnectTimeout: closeMs,
    socketTimeout,
    // They would end a command that blocks.
    commandTimeout: undefined,
    blockingTimeout: undefined,
  }
  if (isCluster(client)) {
    return client.duplicate([], {
      lazyConnect: true,
      enableOfflineQueue: true,
      ...(resends ? repeatsForLong : repeatsNothing),
      redisOptions: tamed,
    })
  }
  return client.duplicate({ ...tamed, lazyConnect: true, enableOfflineQueue: resends })
}

/** Without secrets; the nodes of a Cluster are known once it is connected. */
function addressOf(client: RedisClient): string {
  if (isCluster(client)) {
    const endpoints = client.nodes('master').map(({ options }) => endpointOf(options))
    return formatTarget({ ...plain, mode: 'cluster', endpoints, tls: client.options.redisOptions?.tls && {} })
  }
  const { path, sentinels, name, db, tls } = client.options
  const endpoints = (sentinels ?? [client.options]).map(endpointOf)
  const place = { ...plain, db: db ?? 0, endpoints, socketPath: path, tls: tls && {} }
  return formatTarget(sentinels ? { ...place, mode: 'sentinel', masterName: name } : place)
}

function endpointOf({ host, port }: { host?: string | undefined; port?: number | undefined }): RedisEndpoint {
  return { host: host ?? 'localhost', port: port ?? 6_379 }
}

/** By its shape, because the app may have another copy of ioredis. */
function isCluster(client: RedisClient): client is Cluster {
  return client.isCluster
}

const plain = {
  mode: 'single',
  endpoints: [],
  socketPath: undefined,
  masterName: undefined,
  db: 0,
  username: undefined,
  password: undefined,
  tls: undefined,
} as const
