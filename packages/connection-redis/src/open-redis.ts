import {
  checkKnownOptions,
  MultinodeError,
  type PluginContext,
  type Share,
  withDeadline,
} from '@multinode/core'
import is from '@sindresorhus/is'
import { Redis } from 'ioredis'
import { formatTarget, parseRedisUrl, type RedisTarget } from './redis-address.ts'
import { RedisConnection } from './redis-connection.ts'
import { isFatalForConnect, reasonOf, toRedisError } from './redis-errors.ts'

/** How an adapter on Redis is told where to connect, when not by environment variables. */
export interface RedisOptions {
  /** `redis://user:password@host:port/db`, or `rediss://` for TLS. */
  readonly url?: string
  /** A client of your own. It stays open when the cluster object is closed. */
  readonly client?: Redis
}

const maxBackoffMs = 2_000
/** How long a close waits for a server that does not answer. */
const closeMs = 100

/** Refuses what is no option of a Redis adapter, before anything connects. */
export function checkRedisOptions(owner: string, options: RedisOptions): void {
  checkKnownOptions(owner, options, ['url', 'client'])
  if (options.url !== undefined && options.client !== undefined) {
    throw new MultinodeError('INVALID_ARGUMENT', `${owner} was given url and client: give one of them.`)
  }
  if (options.url !== undefined && !is.string(options.url)) {
    throw new MultinodeError('INVALID_ARGUMENT', `${owner}: url must be a string.`)
  }
}

/**
 * A share of the connection to the address that the options or the context name; drivers of one cluster object with
 * the same address get the same connection. Resolves once the server answers; a server that is not there yet is
 * tried again until `connectTimeoutMs`, then `UNAVAILABLE`. A wrong password or database is refused at once (`MISCONFIGURED`).
 */
export async function openRedis(
  options: RedisOptions,
  context: PluginContext,
): Promise<Share<RedisConnection>> {
  if (options.client !== undefined) return handedIn(options.client, context)
  const address = options.url === undefined ? context.address : { url: options.url, source: 'url' }
  if (address === undefined) {
    throw new MultinodeError('MISCONFIGURED', 'No address of a Redis server was given: pass url or client.')
  }
  const target = parseRedisUrl(address)
  return context.connections.share(`redis ${JSON.stringify(target)}`, () =>
    connect(target, address.source, context),
  )
}

async function handedIn(client: Redis, context: PluginContext): Promise<Share<RedisConnection>> {
  const { host, port, db } = client.options
  const address = formatTarget({
    host: host ?? 'localhost',
    port: port ?? 6379,
    db: db ?? 0,
    username: undefined,
    password: undefined,
    tls: client.options.tls !== undefined,
  })
  const connection = new RedisConnection({ client, address, clock: context.clock, ownsClient: false })
  // One that its owner has closed stays so, and says it.
  if (['ready', 'end'].includes(client.status)) await connection.ping(readyWithinMs(context))
  else await whenReady(client, address, 'client', context)
  return { connection, release: async () => {} }
}

async function connect(
  target: RedisTarget,
  source: string,
  context: PluginContext,
): Promise<RedisConnection> {
  const client = createClient(target, context)
  const connection = new RedisConnection({
    client,
    address: formatTarget(target),
    clock: context.clock,
    ownsClient: true,
  })
  // ioredis goes on in database 0 when a reconnect was refused the database: cut it, and try again.
  client.on('error', (error: Error) => {
    if (isFatalForConnect(error)) client.disconnect(true)
  })
  try {
    await whenReady(client, connection.address, source, context)
    return connection
  } catch (error) {
    await connection.close()
    throw error
  }
}

function createClient(target: RedisTarget, context: PluginContext): Redis {
  return new Redis({
    host: target.host,
    port: target.port,
    db: target.db,
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    ...(target.tls ? { tls: {} } : {}),
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
    retryStrategy: (attempt) =>
      Math.min(maxBackoffMs, 2 ** Math.min(attempt, 10) * 25) * (0.5 + Math.random() / 2),
  })
}

/** Resolves when the server answers; rejects at the deadline with the last reason, or at once when it is final. */
async function whenReady(
  client: Redis,
  address: string,
  source: string,
  context: PluginContext,
): Promise<void> {
  let lastReason = 'no connection'
  let stopListening = (): void => {}
  const ready = new Promise<void>((resolve, reject) => {
    const onReady = (): void => resolve()
    const onAbort = (): void => reject(new Error('the start failed elsewhere'))
    const onError = (error: Error): void => {
      lastReason = reasonOf(error)
      if (isFatalForConnect(error)) {
        reject(toRedisError(error, { address, operation: `connecting (${source})`, outcome: 'not-sent' }))
      }
    }
    client.on('ready', onReady)
    client.on('error', onError)
    context.signal.addEventListener('abort', onAbort)
    stopListening = () => {
      client.off('ready', onReady)
      client.off('error', onError)
      context.signal.removeEventListener('abort', onAbort)
    }
    if (context.signal.aborted) onAbort()
    // Its rejection is only that of the first attempt; later ones follow.
    else if (client.status === 'wait') client.connect().catch(() => {})
  })
  try {
    await withDeadline(context.clock, readyWithinMs(context), ready, () => {
      const reason = client.status === 'connect' ? 'it takes connections, but does not answer' : lastReason
      return new MultinodeError(
        'UNAVAILABLE',
        `Redis at ${address} (${source}) was not reached within ${context.connectTimeoutMs} ms: ${reason}. ` +
          'Check that the server runs and that the address is right.',
        { backend: 'redis', details: { address, source } },
      )
    })
  } finally {
    stopListening()
  }
}

/** Leaves time to close what did not connect, so that this reason is told and not core's. */
function readyWithinMs({ connectTimeoutMs }: PluginContext): number {
  return Math.max(connectTimeoutMs / 2, connectTimeoutMs * 0.95 - closeMs)
}
