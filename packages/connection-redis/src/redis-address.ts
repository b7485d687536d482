import { readFileSync } from 'node:fs'
import { type Address, maskSecrets, MultinodeError } from '@multinode/core'

export interface RedisEndpoint {
  readonly host: string
  readonly port: number
}

/** What TLS needs besides the address; each is the text of a PEM file. */
export interface RedisTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
}

/** Where Redis is, in which topology, and as whom to log in. */
export interface RedisTarget {
  readonly mode: 'single' | 'sentinel' | 'cluster'
  /** The server, the Sentinels, or some nodes of the Cluster. */
  readonly endpoints: readonly RedisEndpoint[]
  /** What the Sentinels call the master. */
  readonly masterName: string | undefined
  readonly db: number
  readonly username: string | undefined
  readonly password: string | undefined
  readonly sentinelUsername: string | undefined
  readonly sentinelPassword: string | undefined
  readonly tls: RedisTls | undefined
}

type Refuse = (reason: string) => MultinodeError
type Mode = RedisTarget['mode']

const accepted =
  'redis://[user:password@]host[:port][/db], redis+sentinel://host,host/master[/db], redis+cluster://host,host, ' +
  'or rediss for TLS'

const modes: Readonly<Record<string, Mode>> = { '': 'single', '+sentinel': 'sentinel', '+cluster': 'cluster' }
const defaultPorts: Readonly<Record<Mode, number>> = { single: 6_379, sentinel: 26_379, cluster: 6_379 }

/** Parameters of an address, in the two spellings that operators use. */
const parameterNames: Readonly<Record<string, string>> = {
  sentinel_username: 'sentinelUsername',
  sentinel_password: 'sentinelPassword',
  tls_ca_file: 'tlsCaFile',
  tls_cert_file: 'tlsCertFile',
  tls_key_file: 'tlsKeyFile',
  tls_server_name: 'tlsServerName',
}

/**
 * Reads an address: `redis://`, `redis+sentinel://` and `redis+cluster://`, with `rediss` for TLS. User and password are
 * percent-decoded; files that it names are read.
 * @throws `MISCONFIGURED` that names the variable and the value, without its password, and the accepted form
 */
export function parseRedisUrl({ url, source }: Address): RedisTarget {
  const refuse: Refuse = (reason) =>
    new MultinodeError(
      'MISCONFIGURED',
      `${source}=${maskSecrets(url)} is no address of a Redis server: ${reason}. Accepted: ${accepted}.`,
      { backend: 'redis', details: { source } },
    )
  const { scheme, userInfo, hosts, rest } = splitUrl(url, refuse)
  const [, tls, suffix] = /^redis(s?)(\+\w+)?$/.exec(scheme) ?? []
  const mode = tls === undefined ? undefined : modes[suffix ?? '']
  if (mode === undefined) throw refuse(`the scheme ${scheme}:// is not known`)
  const common = URL.parse(`redis://${userInfo}host${rest}`)
  if (common === null) throw refuse('it is not a URL')
  // Also keeps what follows from quoting a part of a password.
  if (/[@#]/.test(common.pathname + common.search + common.hash)) {
    throw refuse('it holds a / ? # or @ that is not in its place; in user and password write %2F %3F %23 %40')
  }
  if (mode === 'single' && hosts.length > 1)
    throw refuse('several hosts need redis+sentinel or redis+cluster')
  const parameters = readParameters(common.searchParams, mode, tls === 's', refuse)
  return {
    mode,
    endpoints: hosts.map((host) => readHost(host, defaultPorts[mode], refuse)),
    ...readPath(common.pathname, mode, refuse),
    username: decode(common.username, refuse),
    password: decode(common.password, refuse),
    sentinelUsername: parameters['sentinelUsername'],
    sentinelPassword: parameters['sentinelPassword'],
    tls: tls === 's' ? readTls(parameters, refuse) : undefined,
  }
}

/** The target as text without passwords: for errors and `describe()`. */
export function formatTarget(target: RedisTarget): string {
  const { mode, username, password, masterName } = target
  const scheme = `redis${target.tls === undefined ? '' : 's'}${mode === 'single' ? '' : `+${mode}`}`
  const user = username === undefined && password === undefined ? '' : `${username ?? ''}:***@`
  const hosts = target.endpoints.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
  const path = mode === 'cluster' ? '' : `${masterName === undefined ? '' : `/${masterName}`}/${target.db}`
  return `${scheme}://${user}${hosts.join()}${path}`
}

/** By hand, because a URL has one host and the ports of several are no URL. */
function splitUrl(
  url: string,
  refuse: Refuse,
): { scheme: string; userInfo: string; hosts: readonly string[]; rest: string } {
  const [, scheme, authority = '', rest = ''] = /^([^:/?#]*):\/\/([^/?#]*)(.*)$/s.exec(url) ?? []
  if (scheme === undefined) {
    const other = URL.parse(url)
    throw refuse(other === null ? 'it is not a URL' : `the scheme ${other.protocol}// is not known`)
  }
  const at = authority.lastIndexOf('@') + 1
  return {
    scheme: scheme.toLowerCase(),
    userInfo: authority.slice(0, at),
    hosts: authority.slice(at).split(','),
    rest,
  }
}

function readHost(text: string, defaultPort: number, refuse: Refuse): RedisEndpoint {
  if (text === '' || text.startsWith(':')) throw refuse('the host is missing')
  const parsed = URL.parse(`redis://${text}`)
  if (parsed === null) throw refuse(`${JSON.stringify(text)} is no host with a port`)
  if (parsed.port === '0') throw refuse('there is no port 0')
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? defaultPort : Number(parsed.port),
  }
}

function readPath(path: string, mode: Mode, refuse: Refuse): { db: number; masterName: string | undefined } {
  const [, master, digits] =
    mode === 'sentinel'
      ? (/^\/([\w.-]+)(?:\/(\d{0,5}))?$/.exec(path) ?? [])
      : ['', '', /^\/?(\d{0,5})$/.exec(path)?.[1]]
  if (mode === 'sentinel' && master === undefined) {
    throw refuse('the name of the master is missing or malformed: redis+sentinel://host,host/NAME/0')
  }
  if (mode !== 'sentinel' && digits === undefined) {
    throw refuse(`the database ${JSON.stringify(path.slice(1))} is not a number`)
  }
  const db = Number(digits ?? 0)
  if (mode === 'cluster' && db !== 0) throw refuse(`a Cluster has no database ${db}, only 0`)
  return { db, masterName: master === '' ? undefined : master }
}

function readParameters(
  parameters: URLSearchParams,
  mode: Mode,
  tls: boolean,
  refuse: Refuse,
): Readonly<Record<string, string | undefined>> {
  const read: Record<string, string> = {}
  for (const [given, value] of parameters) {
    const name = parameterNames[given] ?? given
    if (!Object.values(parameterNames).includes(name)) {
      throw refuse(`the parameter ${JSON.stringify(given)} is not known`)
    }
    if (name in read) throw refuse(`the parameter ${JSON.stringify(given)} is given twice`)
    if (name.startsWith('sentinel') && mode !== 'sentinel') {
      throw refuse(`the parameter ${JSON.stringify(given)} is for redis+sentinel`)
    }
    if (name.startsWith('tls') && !tls) throw refuse(`the parameter ${JSON.stringify(given)} is for rediss`)
    read[name] = value
  }
  return read
}

function readTls(parameters: Readonly<Record<string, string | undefined>>, refuse: Refuse): RedisTls {
  const file = (name: string): string | undefined => {
    const path = parameters[name]
    try {
      return path === undefined ? undefined : readFileSync(path, 'utf8')
    } catch (error) {
      throw refuse(`the file of ${name} cannot be read: ${String(error)}`)
    }
  }
  const [ca, cert, key] = [file('tlsCaFile'), file('tlsCertFile'), file('tlsKeyFile')]
  if ((cert === undefined) !== (key === undefined)) {
    throw refuse('tlsCertFile and tlsKeyFile belong together')
  }
  const servername = parameters['tlsServerName']
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(servername !== undefined && { servername }),
  }
}

function decode(part: string, refuse: Refuse): string | undefined {
  if (part === '') return undefined
  try {
    return decodeURIComponent(part)
  } catch {
    throw refuse('user or password hold a % that is no escape; write it as %25')
  }
}
