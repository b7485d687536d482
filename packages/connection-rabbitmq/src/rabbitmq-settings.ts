import type { MultinodeError } from '@multinode/core'
import is from '@sindresorhus/is'

/** Asked again for each new connection, so that a password can be changed while the app runs. */
export type PasswordFunction = () => string | Promise<string>

/**
 * The settings of a connection. Each may also be written in snake_case, and be a parameter of the address; an empty one counts as
 * not set.
 */
export interface RabbitmqSettings {
  /** `host` or `host:port`; of several nodes of one cluster, a random one is tried first. Default: that of the address. */
  readonly host?: string | readonly string[]
  /** Of hosts that name none. Default 5672, with TLS 5671. */
  readonly port?: number
  /** Default `guest`. */
  readonly user?: string
  /** Default `guest`. */
  readonly password?: string | PasswordFunction
  /** Default `/`. */
  readonly vhost?: string
  /** Seconds. A link that is silent for up to three times as long is given up. Default 6. */
  readonly heartbeat?: number
  /** Seconds for one attempt to connect. Default: the deadline of a call. */
  readonly connectTimeout?: number
  /** As the management page shows it. Default: the node id. */
  readonly connectionName?: string
  /** Bytes of the largest frame. Default 131,072. */
  readonly frameMax?: number
  /** Default: whether the address says `amqps`. */
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
export type SnakeCaseRabbitmqSettings = {
  readonly [Name in keyof RabbitmqSettings as SnakeCase<Name>]: RabbitmqSettings[Name]
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

const connectionName: Kind<string> = {
  accepted: 'text of up to 200 characters in one line',
  read: (value) => (is.string(value) && /^[^\p{Cc}]{1,200}$/u.test(value) ? value : undefined),
}

const vhost: Kind<string> = {
  accepted: 'text of up to 255 bytes',
  read: (value) => (is.string(value) && Buffer.byteLength(value) <= 255 ? value : undefined),
}

const password: Kind<string | PasswordFunction> = {
  accepted: 'text or a function that returns it',
  read: (value) => (is.string(value) || isPasswordFunction(value) ? value : undefined),
}

const flag: Kind<boolean> = {
  accepted: 'true or false',
  read: (value) => ({ true: true, false: false })[String(value)],
}

const hosts: Kind<readonly string[]> = {
  accepted: 'a host, host:port, a list of them, or a text of them with commas',
  read: (value) => {
    if (is.string(value)) return value.split(',').map((each) => each.trim())
    return is.array(value, is.string) ? value : undefined
  },
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

/** A number of seconds, or a text that may name another unit: `500ms`, `5s`. */
function seconds(min: number, max: number): Kind<number> {
  return {
    accepted: `a number of seconds from ${min} to ${max}, or a text with its unit (500ms, 5s)`,
    read: (value) => {
      const [, digits, unit] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s)?$/.exec(String(value)) ?? []
      const number = unit === 'ms' ? Number(digits) / 1_000 : Number(digits)
      return number >= min && number <= max ? number : undefined
    },
  }
}

/** AMQP counts heartbeats in whole seconds. */
const heartbeat: Kind<number> = {
  accepted: 'a whole number of seconds from 1 to 3600, or a text with its unit (6s, 6000ms)',
  read: (value) => {
    const number = seconds(1, 3_600).read(value)
    return is.integer(number) ? number : undefined
  },
}

const kinds: { readonly [Name in keyof RabbitmqSettings]-?: Kind<NonNullable<RabbitmqSettings[Name]>> } = {
  host: hosts,
  port: count(1, 65_535),
  user: text,
  password,
  vhost,
  heartbeat,
  connectTimeout: seconds(0.001, 3_600),
  connectionName,
  frameMax: count(4_096, 16_777_216),
  tls: flag,
  tlsCaFile: text,
  tlsCertFile: text,
  tlsKeyFile: text,
  tlsServerName: text,
}

type SettingName = keyof RabbitmqSettings

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
export function readSettings(
  entries: Iterable<readonly [string, unknown]>,
  refuse: Refuse,
): RabbitmqSettings {
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
export function mergeSettings(
  one: RabbitmqSettings,
  other: RabbitmqSettings,
  refuse: Refuse,
): RabbitmqSettings {
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
