import type { PluginContext } from '@multinode/core'
import { Cluster, Redis, type RedisOptions as IoredisOptions } from 'ioredis'
import type { RedisTarget } from './redis-address.ts'

// Without what their constructors type more strictly than their options.
type SharedOptions = Omit<IoredisOptions, 'replyMapping' | 'path'>
type ClusterOptions = NonNullable<ConstructorParameters<typeof Cluster>[1]>

/** What a connection is made on. */
export type RedisClient = Redis | Cluster

const maxBackoffMs = 1_000
/** How long a close waits for a server that does not answer. */
export const closeMs = 100

/** A client that is not connected yet, with all that could keep a command from settling turned off. */
export function createClient(target: RedisTarget, context: PluginContext): RedisClient {
  const common = commonOptions(target, context)
  if (target.mode === 'cluster') {
    return new Cluster([...target.endpoints], clusterOptions(target, common, context))
  }
  if (target.mode === 'sentinel') return new Redis({ ...common, ...sentinelOptions(target) })
  const [endpoint] = target.endpoints
  return new Redis({ ...common, db: target.db, ...endpoint })
}

function commonOptions(target: RedisTarget, context: PluginContext): SharedOptions {
  return {
    ...login(target),
    ...(target.tls === undefined ? {} : { tls: { ...target.tls } }),
    connectionName: context.node.nodeId.replaceAll(/[^\x21-\x7e]/g, '-'),
    lazyConnect: true,
    connectTimeout: Math.min(context.connectTimeoutMs, context.callTimeoutMs),
    // Calls have settled before a close; a frozen server must not delay it.
    disconnectTimeout: closeMs,
    // Commands are refused while the connection is down, and rejected when it breaks: nothing waits in a queue that
    // nobody sees, and nothing is sent a second time.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // A server that is loading is asked again this soon, and not after the time that it thinks it needs.
    maxLoadingRetryTime: 500,
    // A half-open connection is cut, so that a new one can be made.
    socketTimeout: context.callTimeoutMs * 2,
    retryStrategy: backoffMs,
  }
}

function login({ username, password }: RedisTarget): SharedOptions {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  }
}

function sentinelOptions(target: RedisTarget): SharedOptions {
  const { masterName, sentinelUsername, sentinelPassword, tls, db } = target
  return {
    db,
    sentinels: [...target.endpoints],
    ...(masterName === undefined ? {} : { name: masterName }),
    ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
    ...(tls === undefined ? {} : { sentinelTLS: { ...tls }, enableTLSForSentinelMode: true }),
    // Shorter, because a close cannot cut it short.
    sentinelRetryStrategy: (attempt) => backoffMs(attempt) / 2,
    // A Sentinel that does not answer must not keep us from asking the next one.
    sentinelCommandTimeout: 1_000,
    // A master that became a replica keeps its connections: leave it, and look for the new one.
    reconnectOnError: (error) => /\bREADONLY /.test(error.message),
    // After a planned failover the old master goes on taking writes, and loses them: leave it at once.
    failoverDetector: true,
  }
}

function clusterOptions(target: RedisTarget, common: SharedOptions, context: PluginContext): ClusterOptions {
  return {
    redisOptions: common,
    lazyConnect: true,
    // A node is connected by its first command: those that come meanwhile wait for that, too, not longer than it takes.
    enableOfflineQueue: true,
    // A command whose connection broke may have run: it is never sent again. What a node refused (MOVED, ASK, TRYAGAIN,
    // CLUSTERDOWN) is, until our deadline.
    retryDelayOnFailover: 0,
    clusterRetryStrategy: backoffMs,
    slotsRefreshTimeout: Math.min(context.callTimeoutMs, 2_000),
    // Certificates name hosts, not addresses.
    ...(target.tls === undefined ? {} : { dnsLookup: (host, done) => done(null, host) }),
  }
}

function backoffMs(attempt: number): number {
  return Math.min(maxBackoffMs, 2 ** Math.min(attempt, 10) * 25) * (0.5 + Math.random() / 2)
}
