import { type Address, maskSecrets, MultinodeError } from '@multinode/core'
import { mergeSettings, type RabbitmqSettings, readSettings, type Refuse } from './rabbitmq-settings.ts'

const accepted =
  'amqp://[user:password@]host[:port][,host[:port]][/vhost][?parameters], amqps for TLS; several, separated by commas, may ' +
  'differ in host and port only'

/**
 * Reads an address: `amqp://`, or `amqps://` for TLS, with one host or several, or several such addresses separated by commas. User,
 * password and vhost are percent-decoded; parameters are settings by their names.
 * @throws `MISCONFIGURED` that names the variable and the value, without its password, and the accepted form
 */
export function readAddress(address: Address): RabbitmqSettings {
  const refuse = refusalOf(address)
  const [first = '', ...others] = address.url.split(/[,\s]+(?=amqps?:\/\/)/i)
  return others.reduce(
    (settings, url) => {
      const { host, ...other } = readOne(url, refuse)
      return { ...mergeSame(settings, other, refuse), host: [...hostsOf(settings), ...hostsOf({ host })] }
    },
    readOne(first, refuse),
  )
}

/** How an address is refused. */
export function refusalOf({ url, source }: Address): Refuse {
  return (reason) =>
    new MultinodeError(
      'MISCONFIGURED',
      `${source}=${maskSecrets(url)} is no address of a RabbitMQ server: ${reason}. Accepted: ${accepted}.`,
      { backend: 'rabbitmq', details: { source } },
    )
}

export function hostsOf({
  host,
}: {
  readonly host?: RabbitmqSettings['host'] | undefined
}): readonly string[] {
  return host === undefined ? [] : [host].flat()
}

function readOne(url: string, refuse: Refuse): RabbitmqSettings {
  // By hand, because a URL has one host and the ports of several are no URL.
  const [, scheme = '', authority = '', rest = ''] = /^([^:/?#]*):\/\/([^/?#]*)(.*)$/s.exec(url) ?? []
  if (scheme === '') {
    const other = URL.parse(url)
    throw refuse(other === null ? 'it is not a URL' : `the scheme ${other.protocol}// is not known`)
  }
  const tls = { amqp: false, amqps: true }[scheme.toLowerCase()]
  if (tls === undefined) throw refuse(`the scheme ${scheme}:// is not known`)
  const at = authority.lastIndexOf('@') + 1
  const common = URL.parse(`amqp://${authority.slice(0, at)}host${rest}`)
  if (common === null) throw refuse('it is not a URL')
  // Also keeps what follows from quoting a part of a password.
  if (/[@#]/.test(common.pathname + common.search + common.hash)) {
    throw refuse(
      'it holds a / ? # or @ that is not in its place; in user, password and vhost write %2F %3F %23 %40',
    )
  }
  const host = authority.slice(at)
  if (host === '') throw refuse('the host is missing')
  if (common.pathname.slice(1).includes('/')) throw refuse('the vhost holds a /; write %2F')
  const said = [
    ['host', host],
    ...(tls ? [['tls', true] as const] : []),
    ['user', decode(common.username, refuse)],
    ['password', decode(common.password, refuse)],
    ['vhost', decode(common.pathname.slice(1), refuse)],
  ] as const
  return mergeSettings(readSettings(said, refuse), readSettings(common.searchParams, refuse), refuse)
}

function mergeSame(one: RabbitmqSettings, other: RabbitmqSettings, refuse: Refuse): RabbitmqSettings {
  const merged = mergeSettings(one, other, refuse)
  for (const name of ['tls', 'user', 'password', 'vhost'] as const) {
    if (one[name] === other[name]) continue
    throw refuse(`${name} is in one of the addresses and not in the other`)
  }
  return merged
}

function decode(part: string, refuse: Refuse): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    throw refuse('user, password or vhost hold a % that is no escape; write it as %25')
  }
}
