import { type Address, maskSecrets, MultinodeError } from '@multinode/core'
import { mergeSettings, readSettings, type RedisSettings, type Refuse } from './redis-settings.ts'

const accepted =
  'redis://[user:password@]host[:port][/db], redis+sentinel://host,host/master[/db], redis+cluster://host,host, ' +
  'rediss for TLS, or unix:///path/to/socket?db=0'

const scheme = /^(?:redis(?<tls>s?)(?:\+(?<mode>sentinel|cluster))?|(?<unix>unix))$/

/**
 * Reads an address: `redis://`, `redis+sentinel://` and `redis+cluster://`, with `rediss` for TLS, and `unix://`. User and password
 * are percent-decoded; parameters are settings by their names.
 * @throws `MISCONFIGURED` that names the variable and the value, without its password, and the accepted form
 */
export function readAddress(address: Address): RedisSettings {
  const refuse = refusalOf(address)
  const { scheme: given, userInfo, hosts, rest } = splitUrl(address.url, refuse)
  const { tls, mode, unix } = scheme.exec(given)?.groups ?? {}
  if (tls === undefined && unix === undefined) throw refuse(`the scheme ${given}:// is not known`)
  const common = URL.parse(`redis://${userInfo}host${rest}`)
  if (common === null) throw refuse('it is not a URL')
  // Also keeps what follows from quoting a part of a password.
  if (/[@#]/.test(common.pathname + common.search + common.hash)) {
    throw refuse('it holds a / ? # or @ that is not in its place; in user and password write %2F %3F %23 %40')
  }
  if (unix === undefined && hosts === '') throw refuse('the host is missing')
  const place = unix
    ? readSocket(hosts, common.pathname, refuse)
    : readServers(hosts, common.pathname, mode, refuse)
  const said = [
    ...Object.entries(place),
    ...(tls === 's' ? [['tls', true] as const] : []),
    ['user', decode(common.username, refuse)] as const,
    ['password', decode(common.password, refuse)] as const,
  ]
  return mergeSettings(readSettings(said, refuse), readSettings(common.searchParams, refuse), refuse)
}

/** How an address is refused. */
export function refusalOf({ url, source }: Address): Refuse {
  return (reason) =>
    new MultinodeError(
      'MISCONFIGURED',
      `${source}=${maskSecrets(url)} is no address of a Redis server: ${reason}. Accepted: ${accepted}.`,
      { backend: 'redis', details: { source } },
    )
}

/** By hand, because a URL has one host and the ports of several are no URL. */
function splitUrl(
  url: string,
  refuse: Refuse,
): { scheme: string; userInfo: string; hosts: string; rest: string } {
  const [, given, authority = '', rest = ''] = /^([^:/?#]*):\/\/([^/?#]*)(.*)$/s.exec(url) ?? []
  if (given === undefined) {
    const other = URL.parse(url)
    throw refuse(other === null ? 'it is not a URL' : `the scheme ${other.protocol}// is not known`)
  }
  const at = authority.lastIndexOf('@') + 1
  return { scheme: given.toLowerCase(), userInfo: authority.slice(0, at), hosts: authority.slice(at), rest }
}

function readServers(hosts: string, path: string, mode: string | undefined, refuse: Refuse): object {
  if (mode === 'sentinel') return { mode, sentinelAddrs: hosts, ...readMaster(path, refuse) }
  const [, db] = /^\/?(\d{0,5})$/.exec(path) ?? []
  if (db === undefined) throw refuse(`the database ${JSON.stringify(path.slice(1))} is not a number`)
  if (mode === 'cluster') return { mode, clusterAddrs: hosts, db }
  if (hosts.includes(',')) throw refuse('several hosts need redis+sentinel or redis+cluster')
  return { mode: 'single', addr: hosts, db }
}

function readMaster(path: string, refuse: Refuse): object {
  const [, masterName, db] = /^\/([\w.-]+)(?:\/(\d{0,5}))?$/.exec(path) ?? []
  if (masterName === undefined) {
    throw refuse('the name of the master is missing or malformed: redis+sentinel://host,host/NAME/0')
  }
  return { masterName, db }
}

function readSocket(host: string, path: string, refuse: Refuse): object {
  if (host !== '')
    throw refuse('a socket has no host: write unix:// and the whole path, unix:///run/redis.sock')
  return { mode: 'single', network: 'unix', addr: decode(path, refuse) }
}

function decode(part: string, refuse: Refuse): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    throw refuse('user or password hold a % that is no escape; write it as %25')
  }
}
