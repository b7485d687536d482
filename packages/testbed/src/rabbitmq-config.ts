import type { TestCa } from './test-ca.ts'

/** Regular expressions of the names it may configure, write to and read from; each `.*` if absent. */
export interface RabbitmqPermissions {
  readonly configure?: string
  readonly write?: string
  readonly read?: string
}

export interface RabbitmqUser {
  readonly name: string
  readonly password: string
  /** Such as `['administrator']`. */
  readonly tags?: readonly string[]
  /** By virtual host, which is made if it is not there. Default: everything in `/`. */
  readonly vhosts?: Readonly<Record<string, RabbitmqPermissions>>
}

export interface RabbitmqConfig {
  readonly port: number
  readonly tls: { readonly certificates: TestCa; readonly mutual: boolean } | undefined
  readonly definitionsFile: string
  /** More lines, which win over those here. */
  readonly lines: readonly string[]
}

const normalWatermarkBytes = 512 * 1024 * 1024

/** The memory at which the alarm is raised, as an Erlang term. */
export const normalWatermark = `{absolute, ${normalWatermarkBytes}}`

/** The text of a rabbitmq.conf. */
export function rabbitmqConfig({ port, tls, definitionsFile, lines }: RabbitmqConfig): string {
  const all = [
    ...(tls ? tlsLines(port, tls) : [`listeners.tcp.1 = 127.0.0.1:${port}`]),
    'log.file.level = info',
    'log.console = false',
    // The defaults follow the machine: it would raise an alarm where the disk is nearly full.
    `vm_memory_high_watermark.absolute = ${normalWatermarkBytes}`,
    'disk_free_limit.absolute = 50MB',
    'cluster_partition_handling = pause_minority',
    `load_definitions = ${definitionsFile}`,
    ...lines,
  ]
  return all.map((line) => `${line}\n`).join('')
}

function tlsLines(port: number, { certificates, mutual }: NonNullable<RabbitmqConfig['tls']>): string[] {
  const { ca, cert, key } = certificates.server
  return [
    'listeners.tcp = none',
    `listeners.ssl.1 = 127.0.0.1:${port}`,
    `ssl_options.cacertfile = ${ca}`,
    `ssl_options.certfile = ${cert}`,
    `ssl_options.keyfile = ${key}`,
    `ssl_options.verify = ${mutual ? 'verify_peer' : 'verify_none'}`,
    `ssl_options.fail_if_no_peer_cert = ${mutual}`,
  ]
}

export const guest: RabbitmqUser = { name: 'guest', password: 'guest', tags: ['administrator'] }

/** What the server reads at its start: guest, who may do everything everywhere, and the users. */
export function definitions(users: readonly RabbitmqUser[]): string {
  const vhosts = [...new Set(['/', ...users.flatMap((user) => Object.keys(vhostsOf(user)))])]
  const everywhere = Object.fromEntries(vhosts.map((vhost) => [vhost, {}]))
  const all = [{ ...guest, vhosts: everywhere }, ...users]
  return JSON.stringify({
    vhosts: vhosts.map((name) => ({ name })),
    users: all.map(({ name, password, tags = [] }) => ({ name, password, tags: tags.join() })),
    permissions: all.flatMap((user) =>
      Object.entries(vhostsOf(user)).map(([vhost, { configure = '.*', write = '.*', read = '.*' }]) => ({
        user: user.name,
        vhost,
        configure,
        write,
        read,
      })),
    ),
  })
}

function vhostsOf({ vhosts = { '/': {} } }: RabbitmqUser): Readonly<Record<string, RabbitmqPermissions>> {
  return vhosts
}
