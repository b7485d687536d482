import { type Address, maskSecrets, MultinodeError } from '@multinode/core'

/** Where one Redis server is, and as whom to log in. */
export interface RedisTarget {
  readonly host: string
  readonly port: number
  readonly db: number
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: boolean
}

const accepted = 'redis://[user:password@]host[:port][/db], or rediss:// for TLS'

/**
 * Reads `redis://` and `rediss://` URLs. User and password are percent-decoded.
 * @throws `MISCONFIGURED` that names the variable and the value, without its password, and the accepted form
 */
export function parseRedisUrl({ url, source }: Address): RedisTarget {
  const refuse = (reason: string): MultinodeError =>
    new MultinodeError(
      'MISCONFIGURED',
      `${source}=${maskSecrets(url)} is no address of a Redis server: ${reason}. Accepted: ${accepted}.`,
      { backend: 'redis', details: { source } },
    )
  const parsed = URL.parse(url)
  if (parsed === null) throw refuse('it is not a URL')
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') {
    throw refuse(`the scheme ${parsed.protocol}// is not known`)
  }
  if (parsed.hostname === '') throw refuse('the host is missing')
  // Also keeps what follows from quoting a part of a password.
  if (/[@#]/.test(parsed.pathname + parsed.search + parsed.hash)) {
    throw refuse('it holds a / ? # or @ that is not in its place; in user and password write %2F %3F %23 %40')
  }
  if (parsed.port === '0') throw refuse('there is no port 0')
  const [parameter] = parsed.searchParams.keys()
  if (parameter !== undefined) throw refuse(`the parameter ${JSON.stringify(parameter)} is not known`)
  const db = /^\/?(\d{0,5})$/.exec(parsed.pathname)?.[1]
  if (db === undefined) {
    throw refuse(`the database ${JSON.stringify(parsed.pathname.slice(1))} is not a number`)
  }
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    db: Number(db),
    username: decode(parsed.username, refuse),
    password: decode(parsed.password, refuse),
    tls: parsed.protocol === 'rediss:',
  }
}

/** The target as text without the password: for errors and `describe()`. */
export function formatTarget(target: RedisTarget): string {
  const scheme = target.tls ? 'rediss' : 'redis'
  const user =
    target.username === undefined && target.password === undefined ? '' : `${target.username ?? ''}:***@`
  const host = target.host.includes(':') ? `[${target.host}]` : target.host
  return `${scheme}://${user}${host}:${target.port}/${target.db}`
}

function decode(part: string, refuse: (reason: string) => MultinodeError): string | undefined {
  if (part === '') return undefined
  try {
    return decodeURIComponent(part)
  } catch {
    throw refuse('user or password hold a % that is no escape; write it as %25')
  }
}
