import { readFileSync } from 'node:fs'
import { type Address, MultinodeError } from '@multinode/core'
import { hostsOf, readAddress, refusalOf } from './rabbitmq-address.ts'
import {
  mergeSettings,
  type PasswordFunction,
  type RabbitmqSettings,
  readSettings,
  type Refuse,
  toSnakeCase,
} from './rabbitmq-settings.ts'

export interface RabbitmqEndpoint {
  readonly host: string
  readonly port: number
}

/** What TLS needs besides the address; each is the text of a PEM file. */
interface RabbitmqTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
}

/** Where RabbitMQ is, as whom to log in, and how to behave: all settings, checked and completed. */
export interface RabbitmqTarget {
  /** Nodes of one cluster, any of which will do. */
  readonly endpoints: readonly RabbitmqEndpoint[]
  readonly vhost: string
  readonly user: string
  readonly password: string | PasswordFunction
  readonly heartbeatSeconds: number
  readonly connectTimeoutMs: number | undefined
  readonly connectionName: string | undefined
  readonly frameMaxBytes: number
  readonly tls: RabbitmqTls | undefined
}

/**
 * The target that settings given in code describe, together with an address if there is one. Files that they name are read.
 * @param owner whose options they are, for errors
 * @throws `MISCONFIGURED`, or `INVALID_ARGUMENT` without an address; names what is wrong and where it came from
 */
export function resolveTarget(
  owner: string,
  settings: RabbitmqSettings,
  address: Address | undefined,
): RabbitmqTarget {
  if (address === undefined) return toTarget(settings, refusalInCode(owner))
  const refuse = refusalOf(address)
  return toTarget(mergeSettings(readAddress(address), settings, refuse), refuse)
}

/** Settings as options: `INVALID_ARGUMENT` when one of them is no setting or malformed. */
export function readCodedSettings(owner: string, options: object): RabbitmqSettings {
  return readSettings(Object.entries(options), refusalInCode(owner))
}

/** The target as text without the password: for errors and `describe()`. */
export function formatTarget({ endpoints, user, vhost, tls }: RabbitmqTarget): string {
  const hosts = endpoints.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
  const path = vhost === '/' ? '' : encodeURIComponent(vhost)
  return `amqp${tls === undefined ? '' : 's'}://${encodeURIComponent(user)}:***@${hosts.join()}/${path}`
}

function refusalInCode(owner: string): Refuse {
  return (reason) => new MultinodeError('INVALID_ARGUMENT', `${owner}: ${reason}.`, { backend: 'rabbitmq' })
}

function toTarget(settings: RabbitmqSettings, refuse: Refuse): RabbitmqTarget {
  const { tls, port = tls ? 5_671 : 5_672, user, password, connectTimeout } = settings
  if (!tls) refuseTlsSettings(settings, refuse)
  if ((user === undefined) !== (password === undefined)) throw refuse('user and password belong together')
  const endpoints = hostsOf(settings).map((each) => readHost(each, port, refuse))
  if (endpoints.length === 0) throw refuse('host is missing')
  return {
    endpoints,
    vhost: settings.vhost ?? '/',
    user: user ?? 'guest',
    password: password ?? 'guest',
    heartbeatSeconds: settings.heartbeat ?? 6,
    connectTimeoutMs: connectTimeout === undefined ? undefined : Math.ceil(connectTimeout * 1_000),
    connectionName: settings.connectionName,
    frameMaxBytes: settings.frameMax ?? 131_072,
    tls: tls ? readTls(settings, refuse) : undefined,
  }
}

function refuseTlsSettings(settings: RabbitmqSettings, refuse: Refuse): void {
  for (const name of ['tlsCaFile', 'tlsCertFile', 'tlsKeyFile', 'tlsServerName'] as const) {
    if (settings[name] === undefined) continue
    throw refuse(`${toSnakeCase(name)} is for TLS: write amqps, or set tls to true`)
  }
}

function readHost(text: string, defaultPort: number, refuse: Refuse): RabbitmqEndpoint {
  if (text === '' || text.startsWith(':')) throw refuse('the host is missing')
  const parsed = /[/?#@\s]/.test(text) ? null : URL.parse(`amqp://${text}`)
  if (parsed === null || parsed.hostname === '')
    throw refuse(`${JSON.stringify(text)} is no host with a port`)
  if (parsed.port === '0') throw refuse('there is no port 0')
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? defaultPort : Number(parsed.port),
  }
}

function readTls(settings: RabbitmqSettings, refuse: Refuse): RabbitmqTls {
  const read = (name: 'tlsCaFile' | 'tlsCertFile' | 'tlsKeyFile'): string | undefined => {
    const path = settings[name]
    try {
      return path === undefined ? undefined : readFileSync(path, 'utf8')
    } catch (error) {
      throw refuse(`the file of ${toSnakeCase(name)} cannot be read: ${String(error)}`)
    }
  }
  const [ca, cert, key] = [read('tlsCaFile'), read('tlsCertFile'), read('tlsKeyFile')]
  if ((cert === undefined) !== (key === undefined)) {
    throw refuse('tls_cert_file and tls_key_file belong together')
  }
  const servername = settings.tlsServerName
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(servername !== undefined && { servername }),
  }
}
