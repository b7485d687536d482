import {
  checkKnownOptions,
  MultinodeError,
  type PluginContext,
  type Share,
  withDeadline,
} from '@multinode/core'
import is from '@sindresorhus/is'
import { Cluster } from 'ioredis'
import { checkIsNoClusterNode, checkSpeaksTls, checkTopology } from './check-topology.ts'
import { closeMs, createClient, type RedisClient } from './create-client.ts'
import { formatTarget, parseRedisUrl, type RedisTarget } from './redis-address.ts'
import { RedisConnection } from './redis-connection.ts'
import { isFatalForConnect, reasonOf, toRedisError } from './redis-errors.ts'

/** How an adapter on Redis is told where to connect, when not by environment variables. */
export interface RedisOptions {
  /**
   * `redis://user:password@host:port/db`, `redis+sentinel://host,host/master/db` or `redis+cluster://host,host`; `rediss` for
   * TLS.
   */
  readonly url?: string
  /** A client of your own, for one server, Sentinels or a Cluster. It stays open when the cluster object is closed. */
  readonly client?: RedisClient
}

/** Refuses what is no option of a Redis adapter, before anything connects. */
export function checkRedisOptions(owner: string, options: RedisOptions): void {
  checkKnownOptions(owner, options, ['url', 'client'])
  if (options.url !== undefined && options.client !== undefined) {
    throw new MultinodeError('INVALID_ARGUMENT', `${owner} was given url and client: give one of them.`)
  }
  // By its shape, because an app may have another copy of ioredis.
  const { client }: { client?: unknown } = options
  if (client !== undefined && !(is.object(client) && is.function(Reflect.get(client, 'evalsha')))) {
    throw new MultinodeError('INVALID_ARGUMENT', `${owner}: client must be a client of ioredis.`)
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

async function handedIn(client: RedisClient, context: PluginContext): Promise<Share<RedisConnection>> {
  const address = addressOf(client)
  const connection = new RedisConnection({ client, address, clock: context.clock, ownsClient: false })
  // One that its owner has closed stays so, and says it.
  if (['ready', 'end'].includes(client.status)) await connection.ping(readyWithinMs(context))
  else await whenReady(client, address, 'client', context)
  return { connection, release: async () => {} }
}

function addressOf(client: RedisClient): string {
  if (client instanceof Cluster) return 'redis+cluster:// of the client that was handed in'
  const { host, port, db, path, sentinels, name, tls } = client.options
  if (path !== undefined) return `unix://${path}`
  return formatTarget({
    mode: sentinels ? 'sentinel' : 'single',
    endpoints: (sentinels ?? [{ host, port }]).map((each) => ({
      host: each.host ?? 'localhost',
      port: each.port ?? 6379,
    })),
    masterName: sentinels ? name : undefined,
    db: db ?? 0,
    username: undefined,
    password: undefined,
    sentinelUsername: undefined,
    sentinelPassword: undefined,
    tls: tls === undefined ? undefined : {},
  })
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
    if (target.mode !== 'cluster' && isFatalForConnect(error)) client.disconnect(true)
  })
  try {
    const checks = [
      ...(target.mode === 'single' ? [] : [checkTopology(target, source, context)]),
      ...(target.tls ? [checkSpeaksTls(target, source, context, () => client.status === 'ready')] : []),
    ]
    await whenReady(client, connection.address, source, context, checks)
    if (target.mode === 'single') await checkIsNoClusterNode(connection, source, context)
    return connection
  } catch (error) {
    await connection.close()
    throw error
  }
}

/** Resolves when the server answers; rejects at the deadline with the last reason, or at once when it is final. */
async function whenReady(
  client: RedisClient,
  address: string,
  source: string,
  context: PluginContext,
  checks: readonly Promise<void>[] = [],
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
    client.on('node error', onError)
    for (const check of checks) check.catch(reject)
    context.signal.addEventListener('abort', onAbort)
    stopListening = () => {
      client.off('ready', onReady)
      client.off('error', onError)
      client.off('node error', onError)
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
