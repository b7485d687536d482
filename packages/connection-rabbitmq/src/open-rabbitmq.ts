import { randomUUID } from 'node:crypto'
import {
  type Address,
  checkKnownOptions,
  MultinodeError,
  type PluginContext,
  type Share,
} from '@multinode/core'
import is from '@sindresorhus/is'
import { connect } from './connect.ts'
import type { RabbitmqConnection } from './rabbitmq-connection.ts'
import {
  isSettingName,
  type RabbitmqSettings,
  settingNames,
  type SnakeCaseRabbitmqSettings,
} from './rabbitmq-settings.ts'
import { formatTarget, readCodedSettings, type RabbitmqTarget, resolveTarget } from './rabbitmq-target.ts'

/**
 * How an adapter on RabbitMQ is told where to connect and how, besides by environment variables. Settings complete an address; one
 * that contradicts it is an error.
 */
export interface RabbitmqOptions extends RabbitmqSettings, SnakeCaseRabbitmqSettings {
  /** `amqp://user:password@host:port/vhost`, `amqps` for TLS; several hosts or addresses separated by commas. */
  readonly url?: string
  /** Nodes of one cluster, a random one is tried first. They may differ in host and port only. */
  readonly urls?: readonly string[]
}

/**
 * Refuses what is no option of a RabbitMQ adapter, before anything connects.
 * @returns what a plugin registers as its `options`: with a `url`, if they name a server in any way
 */
export function checkRabbitmqOptions(owner: string, options: RabbitmqOptions): Record<string, unknown> {
  const others = Object.fromEntries(
    Object.entries(options).filter(([name]) => name !== 'url' && name !== 'urls'),
  )
  const unknown = Object.fromEntries(Object.entries(others).filter(([name]) => !isSettingName(name)))
  checkKnownOptions(owner, unknown, ['url', 'urls', ...settingNames])
  const url = joinUrls(owner, options)
  const settings = readCodedSettings(owner, others)
  if (url !== undefined) return { ...options, url }
  if (settings.host === undefined) return { ...options }
  return { ...options, url: formatTarget(resolveTarget(owner, settings, undefined)) }
}

/**
 * A share of the connection to the address that the options or the context name; drivers of one cluster object with
 * the same address and settings get the same connection. Resolves once the server answers; a server that is not there yet is
 * tried again until `connectTimeoutMs`, then `UNAVAILABLE`. A wrong login or vhost is refused at once (`MISCONFIGURED`).
 */
export async function openRabbitmq(
  options: RabbitmqOptions,
  context: PluginContext,
): Promise<Share<RabbitmqConnection>> {
  const { url, urls, ...others } = options
  const settings = readCodedSettings('openRabbitmq', others)
  const address = addressOf(joinUrls('openRabbitmq', { url, urls }), settings, context)
  const target = resolveTarget('openRabbitmq', settings, address)
  return context.connections.share(`rabbitmq ${shareKey(target)}`, () =>
    connect(target, address?.source ?? 'the options', context),
  )
}

function joinUrls(
  owner: string,
  { url, urls }: { readonly url?: string | undefined; readonly urls?: readonly string[] | undefined },
): string | undefined {
  const refuse = (reason: string): MultinodeError =>
    new MultinodeError('INVALID_ARGUMENT', `${owner}: ${reason}.`, { backend: 'rabbitmq' })
  if (url !== undefined && !is.string(url)) throw refuse('url must be a string')
  if (urls === undefined) return url
  if (!is.array(urls, is.string) || urls.length === 0) throw refuse('urls must be a list of addresses')
  if (url !== undefined) throw refuse('url and urls are both given: keep one of them')
  return urls.join()
}

function addressOf(
  url: string | undefined,
  settings: RabbitmqSettings,
  context: PluginContext,
): Address | undefined {
  if (url !== undefined) return { url, source: 'url' }
  if (settings.host !== undefined) return undefined
  if (context.address !== undefined) return context.address
  throw new MultinodeError(
    'MISCONFIGURED',
    'No address of a RabbitMQ server was given: pass url, urls or host.',
  )
}

/** A function gives the same password as long as it is the same function. */
const functionIds = new WeakMap<object, string>()

function shareKey(target: RabbitmqTarget): string {
  const { password } = target
  if (!is.function(password)) return JSON.stringify(target)
  const id = functionIds.get(password) ?? randomUUID()
  functionIds.set(password, id)
  return `${JSON.stringify(target)} ${id}`
}
