import { randomUUID } from 'node:crypto'
import {
  type Address,
  checkKnownOptions,
  MultinodeError,
  type PluginContext,
  type Share,
} from '@multinode/core'
import is from '@sindresorhus/is'
import type { RedisClient } from './create-client.ts'
import { connect } from './connect.ts'
import { useClient } from './handed-in-client.ts'
import type { RedisConnection } from './redis-connection.ts'
import {
  isSettingName,
  type RedisSettings,
  settingNames,
  type SnakeCaseRedisSettings,
} from './redis-settings.ts'
import {
  formatTarget,
  namesServer,
  readCodedSettings,
  type RedisTarget,
  resolveTarget,
} from './redis-target.ts'

/**
 * How an adapter on Redis is told where to connect and how, besides by environment variables. Settings complete an address; one that
 * contradicts it is an error.
 */
export interface RedisOptions extends RedisSettings, SnakeCaseRedisSettings {
  /**
   * `redis://user:password@host:port/db`, `redis+sentinel://host,host/master/db`, `redis+cluster://host,host`; `rediss` for
   * TLS; `unix:///path/to/socket`.
   */
  readonly url?: string
  /** A client of your own, for one server, Sentinels or a Cluster. It stays open when the cluster object is closed. */
  readonly client?: RedisClient
}

/**
 * Refuses what is no option of a Redis adapter, before anything connects.
 * @returns what a plugin registers as its `options`: with a `url`, if they name a server in any way
 */
export function checkRedisOptions(owner: string, options: RedisOptions): Record<string, unknown> {
  const { client, url, ...others } = options
  const unknown = Object.fromEntries(Object.entries(others).filter(([name]) => !isSettingName(name)))
  checkKnownOptions(owner, unknown, ['url', 'client', ...settingNames])
  if (client !== undefined && Object.keys(options).length > 1) {
    throw new MultinodeError(
      'INVALID_ARGUMENT',
      `${owner} was given ${Object.keys(options).join(' and ')}: a client has its settings already, give it alone.`,
    )
  }
  // By its shape, because an app may have another copy of ioredis.
  const handedIn: unknown = client
  if (handedIn !== undefined && !(is.object(handedIn) && is.function(Reflect.get(handedIn, 'evalsha')))) {
    throw new MultinodeError('INVALID_ARGUMENT', `${owner}: client must be a client of ioredis.`)
  }
  if (url !== undefined && !is.string(url)) {
    throw new MultinodeError('INVALID_ARGUMENT', `${owner}: url must be a string.`)
  }
  const settings = readCodedSettings(owner, others)
  if (!namesServer(settings)) return { ...options }
  return { ...options, url: url ?? formatTarget(resolveTarget(owner, settings, undefined)) }
}

/**
 * A share of the connection to the address that the options or the context name; drivers of one cluster object with
 * the same address and settings get the same connection. Resolves once the server answers; a server that is not there yet is
 * tried again until `connectTimeoutMs`, then `UNAVAILABLE`. A wrong password or database is refused at once (`MISCONFIGURED`).
 */
export async function openRedis(
  options: RedisOptions,
  context: PluginContext,
): Promise<Share<RedisConnection>> {
  const { client, url, ...others } = options
  if (client !== undefined) return useClient(client, context)
  const settings = readCodedSettings('openRedis', others)
  const address = addressOf(url, settings, context)
  const target = resolveTarget('openRedis', settings, address)
  return context.connections.share(`redis ${shareKey(target)}`, () =>
    connect(target, address?.source ?? 'the options', context),
  )
}

function addressOf(
  url: string | undefined,
  settings: RedisSettings,
  context: PluginContext,
): Address | undefined {
  if (url !== undefined) return { url, source: 'url' }
  if (namesServer(settings)) return undefined
  if (context.address !== undefined) return context.address
  throw new MultinodeError(
    'MISCONFIGURED',
    'No address of a Redis server was given: pass url, addr or client.',
  )
}

/** A function gives the same password as long as it is the same function. */
const functionIds = new WeakMap<object, string>()

function shareKey(target: RedisTarget): string {
  const { password } = target
  if (!is.function(password)) return JSON.stringify(target)
  const id = functionIds.get(password) ?? randomUUID()
  functionIds.set(password, id)
  return `${JSON.stringify(target)} ${id}`
}
