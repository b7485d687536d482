import { readFileSync } from 'node:fs'
import { type Address, MultinodeError } from '@multinode/core'
import { readAddress, refusalOf } from './redis-address.ts'
import {
  mergeSettings,
  type PasswordFunction,
  readSettings,
  type RedisSettings,
  type Refuse,
  toSnakeCase,
} from './redis-settings.ts'

export interface RedisEndpoint {
  readonly host: string
  readonly port: number
}

/** What TLS needs besides the address; each is the text of a PEM file. */
interface RedisTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
}

/** Where reads that may be behind go. */
export interface ReadRoute {
  readonly to: 'master' | 'all' | 'replicas'
  readonly by: 'random' | 'latency'
}

/** How a connection behaves, wherever it leads. */
interface RedisBehaviour {
  readonly clientName: string | undefined
  readonly reads: ReadRoute
  /** 0 for never. */
  readonly maxRetries: number
  readonly dialTimeoutMs: number | undefined
  readonly minBackoffMs: number
  readonly maxBackoffMs: number
  /** Settings that were given and change nothing here, in snake_case. */
  readonly withoutEffect: readonly string[]
}

/** Where Redis is, in which topology, as whom to log in, and how to behave: all settings, checked and completed. */
export interface RedisTarget extends RedisBehaviour {
  readonly mode: 'single' | 'sentinel' | 'cluster'
  /** The server, the Sentinels, or some nodes of the Cluster; none when it is a socket. */
  readonly endpoints: readonly RedisEndpoint[]
  readonly socketPath: string | undefined
  readonly masterName: string | undefined
  readonly db: number
  readonly username: string | undefined
  readonly password: string | PasswordFunction | undefined
  readonly sentinelUsername: string | undefined
  readonly sentinelPassword: string | undefined
  readonly tls: RedisTls | undefined
}

const defaultPorts: Readonly<Record<RedisTarget['mode'], number>> = {
  single: 6_379,
  sentinel: 26_379,
  cluster: 6_379,
}

/** Those that say where the server is. */
const placeNames = ['addr', 'clusterAddrs', 'sentinelAddrs'] as const

const poolNames = ['poolSize', 'poolFifo', 'minIdleConns', 'maxIdleConns'] as const

/** Whether settings name a server, so that no other address is wanted. */
export function namesServer(settings: RedisSettings): boolean {
  return placeNames.some((name) => settings[name] !== undefined)
}

/**
 * The target that settings given in code describe, together with an address if there is one. Files that they name are read.
 * @param owner whose options they are, for errors
 * @throws `MISCONFIGURED`, or `INVALID_ARGUMENT` without an address; names what is wrong and where it came from
 */
export function resolveTarget(
  owner: string,
  settings: RedisSettings,
  address: Address | undefined,
): RedisTarget {
  if (address === undefined) return toTarget(settings, refusalInCode(owner))
  const refuse = refusalOf(address)
  return toTarget(mergeSettings(readAddress(address), settings, refuse), refuse)
}

/** Settings as options: `INVALID_ARGUMENT` when one of them is no setting or malformed. */
export function readCodedSettings(owner: string, options: object): RedisSettings {
  return readSettings(Object.entries(options), refusalInCode(owner))
}

/** The target as text without passwords: for errors and `describe()`. */
export function formatTarget(
  target: Omit<RedisTarget, 'sentinelUsername' | 'sentinelPassword' | keyof RedisBehaviour>,
): string {
  const { mode, username, password, masterName, socketPath, db } = target
  const user = username === undefined && password === undefined ? '' : `${username ?? ''}:***@`
  if (socketPath !== undefined) return `unix://${user}${socketPath}?db=${db}`
  const scheme = `redis${target.tls === undefined ? '' : 's'}${mode === 'single' ? '' : `+${mode}`}`
  const hosts = target.endpoints.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
  const path = mode === 'cluster' ? '' : `${masterName === undefined ? '' : `/${masterName}`}/${db}`
  return `${scheme}://${user}${hosts.join()}${path}`
}

function refusalInCode(owner: string): Refuse {
  return (reason) => new MultinodeError('INVALID_ARGUMENT', `${owner}: ${reason}.`, { backend: 'redis' })
}

function toTarget(settings: RedisSettings, refuse: Refuse): RedisTarget {
  const mode = settings.mode ?? impliedMode(settings)
  const [minBackoffMs, maxBackoffMs] = readBackoff(settings, refuse)
  const dialTimeoutMs =
    settings.dialTimeout === undefined ? undefined : Math.ceil(settings.dialTimeout * 1_000)
  refuseForeign(settings, mode, refuse)
  return {
    mode,
    ...readPlace(settings, mode, refuse),
    masterName: settings.masterName,
    db: settings.db ?? 0,
    username: settings.user,
    password: settings.password,
    sentinelUsername: settings.sentinelUsername,
    sentinelPassword: settings.sentinelPassword,
    tls: settings.tls === true ? readTls(settings, refuse) : undefined,
    clientName: settings.clientName,
    reads: readRoute(settings, refuse),
    maxRetries: Math.max(0, settings.maxRetries ?? 0),
    dialTimeoutMs,
    minBackoffMs,
    maxBackoffMs,
    withoutEffect: poolNames.filter((name) => settings[name] !== undefined).map(toSnakeCase),
  }
}

function impliedMode({ clusterAddrs, sentinelAddrs }: RedisSettings): RedisTarget['mode'] {
  if (clusterAddrs !== undefined) return 'cluster'
  return sentinelAddrs === undefined ? 'single' : 'sentinel'
}

/** What belongs to another mode is a mistake, and not to be passed over. */
function refuseForeign(settings: RedisSettings, mode: RedisTarget['mode'], refuse: Refuse): void {
  const homes = {
    addr: 'single',
    clusterAddrs: 'cluster',
    sentinelAddrs: 'sentinel',
    masterName: 'sentinel',
    sentinelUsername: 'sentinel',
    sentinelPassword: 'sentinel',
  } as const
  for (const name of Object.keys(homes).filter((each): each is keyof typeof homes => each in homes)) {
    if (settings[name] === undefined || homes[name] === mode) continue
    throw refuse(`${toSnakeCase(name)} is for mode ${homes[name]}, and this is mode ${mode}`)
  }
  if (settings.network === 'unix' && mode !== 'single') throw refuse('a unix socket is for a single server')
  if (settings.network === 'unix' && settings.tls) throw refuse('a unix socket has no TLS')
  if (mode === 'cluster' && settings.db) throw refuse(`a Cluster has no database ${settings.db}, only 0`)
  for (const name of ['tlsCaFile', 'tlsCertFile', 'tlsKeyFile', 'tlsServerName'] as const) {
    if (settings[name] !== undefined && !settings.tls) {
      throw refuse(`${toSnakeCase(name)} is for TLS: write rediss, or set tls to true`)
    }
  }
}

function readPlace(
  settings: RedisSettings,
  mode: RedisTarget['mode'],
  refuse: Refuse,
): Pick<RedisTarget, 'endpoints' | 'socketPath'> {
  const { addr, network, clusterAddrs, sentinelAddrs, masterName } = settings
  if (network === 'unix') {
    if (addr?.startsWith('/')) return { endpoints: [], socketPath: addr }
    throw refuse('addr must be the whole path of the socket, which begins with /')
  }
  const given = {
    single: addr === undefined ? addr : [addr],
    sentinel: sentinelAddrs,
    cluster: clusterAddrs,
  }[mode]
  if (given === undefined) {
    const name = { single: 'addr', sentinel: 'sentinel_addrs', cluster: 'cluster_addrs' }[mode]
    throw refuse(`${name} is missing, which mode ${mode} needs`)
  }
  if (mode === 'sentinel' && masterName === undefined)
    throw refuse('master_name is missing, which mode sentinel needs')
  return { endpoints: given.map((each) => readHost(each, defaultPorts[mode], refuse)), socketPath: undefined }
}

function readHost(text: string, defaultPort: number, refuse: Refuse): RedisEndpoint {
  if (text === '' || text.startsWith(':')) throw refuse('the host is missing')
  const parsed = /[/?#@\s]/.test(text) ? null : URL.parse(`redis://${text}`)
  if (parsed === null) throw refuse(`${JSON.stringify(text)} is no host with a port`)
  if (parsed.port === '0') throw refuse('there is no port 0')
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? defaultPort : Number(parsed.port),
  }
}

function readRoute({ routeRandomly, routeByLatency, replicaOnly }: RedisSettings, refuse: Refuse): ReadRoute {
  if (routeRandomly && routeByLatency) throw refuse('route_randomly and route_by_latency exclude each other')
  const isRouted = routeRandomly || routeByLatency
  return {
    to: replicaOnly ? 'replicas' : isRouted ? 'all' : 'master',
    by: routeByLatency ? 'latency' : 'random',
  }
}

function readBackoff(
  { minRetryBackoff: min, maxRetryBackoff: max }: RedisSettings,
  refuse: Refuse,
): [minMs: number, maxMs: number] {
  if (min !== undefined && max !== undefined && min > max) {
    throw refuse(`min_retry_backoff is ${min} ms, more than max_retry_backoff, ${max} ms`)
  }
  return [min ?? Math.min(25, max ?? 25), max ?? Math.max(1_000, min ?? 0)]
}

function readTls(settings: RedisSettings, refuse: Refuse): RedisTls {
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
