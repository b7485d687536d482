import type { MultinodeError } from '@multinode/core'
import is from '@sindresorhus/is'

/** Asked again for each new connection, so that a password can be changed while the app runs. */
export type PasswordFunction = () => string | Promise<string>

/**
 * The settings of a connection, by the names that operators know from go-redis and its like. Each may also be written in
 * snake_case, and be a parameter of the address; an empty one counts as not set.
 */
export interface RedisSettings {
  /** Default: `cluster` with `clusterAddrs`, `sentinel` with `sentinelAddrs`, else `single`. */
  readonly mode?: 'single' | 'sentinel' | 'cluster'
  /** Default `tcp`. `unix` is a socket on this machine, for a single server. */
  readonly network?: 'tcp' | 'unix'
  /** `host:port` of a single server, or the path of its unix socket. */
  readonly addr?: string
  /** Default 0; a Cluster has no other. */
  readonly db?: number
  readonly user?: string
  readonly password?: string | PasswordFunction
  /** `host:port` of some nodes of a Cluster; the others are found. */
  readonly clusterAddrs?: readonly string[]
  /** What the Sentinels call the master. */
  readonly masterName?: string
  /** `host:port` of the Sentinels. */
  readonly sentinelAddrs?: readonly string[]
  /** The login of the Sentinels, which is not that of the master. */
  readonly sentinelUsername?: string
  readonly sentinelPassword?: string
  /** Of the connection, as `CLIENT LIST` shows it. Default: the node id. */
  readonly clientName?: string
  /** Reads that may be behind go to a random one of the master and its replicas. */
  readonly routeRandomly?: boolean
  /** Reads that may be behind go to the one of them that answers fastest. */
  readonly routeByLatency?: boolean
  /** Reads that may be behind go to replicas, as long as there is one. */
  readonly replicaOnly?: boolean
  /** How often a command that surely was not carried out is tried again within its deadline. Default -1: never. */
  readonly maxRetries?: number
  /** Seconds for one attempt to connect. Default: the deadline of a call. */
  readonly dialTimeout?: number
  /** Milliseconds before the first attempt to connect, or to send, again; doubled each time. Default 25. */
  readonly minRetryBackoff?: number
  /** Milliseconds, the most of it. Default 1,000. */
  readonly maxRetryBackoff?: number
  /** Without effect, as are the next three: one connection carries all commands. Said once in a warning. */
  readonly poolSize?: number
  readonly poolFifo?: boolean
  readonly minIdleConns?: number
  readonly maxIdleConns?: number
  /** Default: whether the address says `rediss`. */
  readonly tls?: boolean
  /** PEM file of the authority, when it is not a public one. */
  readonly tlsCaFile?: string
  /** PEM file of our certificate, when the server wants one; with `tlsKeyFile`. */
  readonly tlsCertFile?: string
  readonly tlsKeyFile?: string
  /** The name in the server's certificate, when it is another than the host. */
  readonly tlsServerName?: string
}

type SnakeCase<Name extends string> = Name extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${SnakeCase<Rest>}`
  : Name

/** The settings in snake_case. */
export type SnakeCaseRedisSettings = {
  readonly [Name in keyof RedisSettings as SnakeCase<Name>]: RedisSettings[Name]
}

/** Makes the error for a reason, and says where the setting came from. */
export type Refuse = (reason: string) => MultinodeError

interface Kind<T> {
  readonly accepted: string
  /** `undefined` when the value is none of the kind. */
  readonly read: (value: unknown) => T | undefined
}

const text: Kind<string> = {
  accepted: 'text',
  read: (value) => (is.string(value) ? value : undefined),
}

const clientName: Kind<string> = {
  accepted: 'text without spaces, in ASCII',
  read: (value) => (is.string(value) && /^[\x21-\x7e]{1,256}$/.test(value) ? value : undefined),
}

const password: Kind<string | PasswordFunction> = {
  accepted: 'text or a function that returns it',
  read: (value) => (is.string(value) || isPasswordFunction(value) ? value : undefined),
}

const flag: Kind<boolean> = {
  accepted: 'true or false',
  read: (value) => ({ true: true, false: false })[String(value)],
}

const list: Kind<readonly string[]> = {
  accepted: 'a list of host:port, or a text of them with commas',
  read: (value) => {
    if (is.string(value)) return value.split(',').map((each) => each.trim())
    return is.array(value, is.string) ? value : undefined
  },
}

function oneOf<T extends string>(...choices: readonly T[]): Kind<T> {
  return { accepted: choices.join(' or '), read: (value) => choices.find((choice) => choice === value) }
}

function count(min: number, max: number): Kind<number> {
  return {
    accepted: `a whole number from ${min} to ${max}`,
    read: (value) => {
      const number = is.string(value) && /^-?\d{1,9}$/.test(value) ? Number(value) : value
      return is.integer(number) && number >= min && number <= max ? number : undefined
    },
  }
}

/** A number in its unit, or a text that may name another unit: `500ms`, `5s`. */
function duration(unit: 'ms' | 's', max: number): Kind<number> {
  const inMs = { ms: 1, s: 1_000 }
  return {
    accepted: `a number of ${unit === 's' ? 'seconds' : 'milliseconds'} up to ${max}, or a text with its unit (500ms, 5s)`,
    read: (value) => {
      const [, digits, given] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s)?$/.exec(String(value)) ?? []
      const factor = inMs[given === 'ms' || given === 's' ? given : unit] / inMs[unit]
      const number = Number(digits) * factor
      return number > 0 && number <= max ? number : undefined
    },
  }
}

const kinds: { readonly [Name in keyof RedisSettings]-?: Kind<NonNullable<RedisSettings[Name]>> } = {
  mode: oneOf('single', 'sentinel', 'cluster'),
  network: oneOf('tcp', 'unix'),
  addr: text,
  db: count(0, 99_999),
  user: text,
  password,
  clusterAddrs: list,
  masterName: text,
  sentinelAddrs: list,
  sentinelUsername: text,
  sentinelPassword: text,
  clientName,
  routeRandomly: flag,
  routeByLatency: flag,
  replicaOnly: flag,
  maxRetries: count(-1, 1_000),
  dialTimeout: duration('s', 3_600),
  minRetryBackoff: duration('ms', 3_600_000),
  maxRetryBackoff: duration('ms', 3_600_000),
  poolSize: count(0, 1_000_000),
  poolFifo: flag,
  minIdleConns: count(0, 1_000_000),
  maxIdleConns: count(0, 1_000_000),
  tls: flag,
  tlsCaFile: text,
  tlsCertFile: text,
  tlsKeyFile: text,
  tlsServerName: text,
}

type SettingName = keyof RedisSettings

const names: readonly SettingName[] = Object.keys(kinds).filter((name): name is SettingName => name in kinds)
const nameOf = new Map(names.flatMap((name) => [[name, name] as const, [toSnakeCase(name), name] as const]))

/** In camelCase. */
export const settingNames: readonly string[] = names

/** Whether it is the name of a setting, in either spelling. */
export function isSettingName(name: string): boolean {
  return nameOf.has(name)
}

/**
 * Reads settings under either of their names. Numbers and flags may be texts, as in an address; what is empty is left out.
 * @throws what `refuse` makes, for a name that is none, a value that is not of its kind, and a setting given twice
 */
export function readSettings(entries: Iterable<readonly [string, unknown]>, refuse: Refuse): RedisSettings {
  const settings: Record<string, unknown> = {}
  for (const [given, value] of entries) {
    const name = nameOf.get(given)
    if (name === undefined) throw refuse(`the parameter ${JSON.stringify(given)} is not known`)
    if (value === undefined || value === null || value === '' || is.emptyArray(value)) continue
    if (name in settings) throw refuse(`the parameter ${JSON.stringify(given)} is given twice`)
    const read = kinds[name].read(value)
    if (read === undefined) {
      throw refuse(`the parameter ${given} is ${shown(name, value)}; it must be ${kinds[name].accepted}`)
    }
    settings[name] = read
  }
  return settings
}

/**
 * Both together.
 * @throws what `refuse` makes, for a setting that is in both and not the same
 */
export function mergeSettings(one: RedisSettings, other: RedisSettings, refuse: Refuse): RedisSettings {
  for (const name of names) {
    const [first, second] = [one[name], other[name]]
    if (first === undefined || second === undefined || JSON.stringify(first) === JSON.stringify(second))
      continue
    throw refuse(`${name} is given twice, as ${shown(name, first)} and as ${shown(name, second)}`)
  }
  return { ...one, ...other }
}

export function toSnakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

function shown(name: string, value: unknown): string {
  if (/password/i.test(name)) return '***'
  return is.primitive(value) || is.array(value, is.primitive) ? JSON.stringify(value) : `of type ${is(value)}`
}

function isPasswordFunction(value: unknown): value is PasswordFunction {
  return is.function(value)
}
