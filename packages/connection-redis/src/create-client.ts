import type { PluginContext } from '@multinode/core'
import { Cluster, type Redis, type RedisOptions as IoredisOptions } from 'ioredis'
import { BatchingRedis } from './batching-redis.ts'
import type { RedisTarget } from './redis-target.ts'
import { RotatingCluster, RotatingRedis } from './rotating-clients.ts'
import type { RotatingPassword } from './rotating-password.ts'

// Without what their constructors type more strictly than their options.
export type ServerOptions = Omit<IoredisOptions, 'replyMapping'>
export type ClusterOptions = NonNullable<ConstructorParameters<typeof Cluster<'legacy'>>[1]>

/** What a connection is made on. */
export type RedisClient = Redis | Cluster

/** How long a close waits for a server that does not answer. */
export const closeMs = 100

/** What all clients of one connection are made from. */
export interface ClientParts {
  readonly target: RedisTarget
  readonly context: PluginContext
  /** In place of the target's own, when that is a function. */
  readonly password: RotatingPassword | undefined
  /** How long a command may have no answer although all is well: that of the longest one that blocks. */
  readonly blockMs?: number
  /** Whether commands wait while the connection is down, and are sent again when it broke. */
  readonly resends?: boolean
  /** Where a Cluster's client sends commands that read. */
  readonly scaleReads?: (nodes: readonly (Redis | undefined)[]) => Redis | undefined
}

/** For a library that cannot bear a failure. */
export const repeatsForLong = { retryDelayOnFailover: 100, maxRedirections: 600 } as const

/**
 * A command whose connection broke may have run: it is never sent again. What a Cluster refused because it was down is, but by us: ioredis goes on when
 * nobody waits for it any more. What it sends again by itself (MOVED, ASK, TRYAGAIN) ends when the slot has moved.
 */
export const repeatsNothing = { retryDelayOnFailover: 0, retryDelayOnClusterDown: 0 } as const

/** A client that is not connected yet, with all that could keep a command from settling turned off. */
export function createClient(parts: ClientParts): RedisClient {
  return parts.target.mode === 'cluster' ? createClusterClient(parts) : createServerClient(parts)
}

export function createClusterClient(parts: ClientParts): Cluster {
  const { target, password } = parts
  const nodes = [...target.endpoints]
  const options = clusterOptions(parts)
  return password === undefined ? new Cluster(nodes, options) : new RotatingCluster(nodes, options, password)
}

/** For one server, also behind Sentinels. */
export function createServerClient(parts: ClientParts): Redis {
  const { target, password } = parts
  const { socketPath, endpoints, mode, db } = target
  const place = socketPath === undefined ? endpoints[0] : { path: socketPath }
  const options = { ...commonOptions(parts), ...(mode === 'sentinel' ? sentinelOptions(parts) : place), db }
  return password === undefined ? new BatchingRedis(options) : new RotatingRedis(options, password)
}

/** How long to wait before an attempt, of which there were so many before: doubled each time, with jitter. */
export function backoffMs({ minBackoffMs, maxBackoffMs }: RedisTarget, attempt: number): number {
  const longest = Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.min(attempt, 30))
  return longest * (0.5 + Math.random() / 2)
}

function commonOptions({ target, context, blockMs = 0, resends = false }: ClientParts): ServerOptions {
  const { username, password, tls, clientName, dialTimeoutMs } = target
  return {
    ...(username === undefined ? {} : { username }),
    ...(typeof password === 'string' ? { password } : {}),
    ...(tls === undefined ? {} : { tls: { ...tls } }),
    connectionName: clientName ?? context.node.nodeId.replaceAll(/[^\x21-\x7e]/g, '-'),
    lazyConnect: true,
    connectTimeout: dialTimeoutMs ?? Math.min(context.connectTimeoutMs, context.callTimeoutMs),
    // Calls have settled before a close; a frozen server must not delay it.
    disconnectTimeout: closeMs,
    // Commands are refused while the connection is down, and rejected when it breaks: nothing waits in a queue that
    // nobody sees, and nothing is sent a second time.
    enableOfflineQueue: resends,
    maxRetriesPerRequest: resends ? null : 0,
    autoResendUnfulfilledCommands: resends,
    // What ioredis subscribes by itself rejects where nobody can catch it, and that ends the process, when the connection is lost in that moment.
    autoResubscribe: false,
    // A server that is loading is asked again this soon, and not after the time that it thinks it needs.
    maxLoadingRetryTime: 500,
    // A half-open connection is cut, so that a new one can be made.
    socketTimeout: context.callTimeoutMs * 2 + blockMs,
    retryStrategy: (attempt) => backoffMs(target, attempt),
  }
}

function sentinelOptions({ target, resends = false }: ClientParts): ServerOptions {
  const { masterName, sentinelUsername, sentinelPassword, tls } = target
  return {
    sentinels: [...target.endpoints],
    ...(masterName === undefined ? {} : { name: masterName }),
    ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
    ...(tls === undefined ? {} : { sentinelTLS: { ...tls }, enableTLSForSentinelMode: true }),
    // Shorter, because a close cannot cut it short.
    sentinelRetryStrategy: (attempt) => backoffMs(target, attempt) / 2,
    // A Sentinel that does not answer must not keep us from asking the next one.
    sentinelCommandTimeout: 1_000,
    // A master that became a replica keeps its connections: leave it, and look for the new one.
    reconnectOnError: (error) => /\bREADONLY /.test(error.message) && (resends ? 2 : 1),
  }
}

function clusterOptions(parts: ClientParts): ClusterOptions {
  const { target, context, scaleReads, resends = false } = parts
  return {
    redisOptions: commonOptions(parts),
    lazyConnect: true,
    ...(scaleReads === undefined ? {} : { scaleReads }),
    // A node is connected by its first command: those that come meanwhile wait for that, too, not longer than it takes.
    enableOfflineQueue: true,
    ...(resends ? repeatsForLong : repeatsNothing),
    clusterRetryStrategy: (attempt) => backoffMs(target, attempt),
    slotsRefreshTimeout: Math.min(context.callTimeoutMs, 2_000),
    // Certificates name hosts, not addresses.
    ...(target.tls === undefined ? {} : { dnsLookup: (host, done) => done(null, host) }),
  }
}
