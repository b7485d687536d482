import type { TlsFiles } from './test-ca.ts'

export interface RedisUser {
  readonly name: string
  readonly password: string
  /** As in ACL SETUSER, apart by spaces: `'~app:* +@all -flushall'`. A rule that Redis does not know ends it. */
  readonly rules: string
}

/** A directive and its arguments. */
export type ConfigLine = readonly string[]

export interface RedisConfig {
  readonly port: number
  readonly folder: string
  readonly aof: boolean
  readonly password: string | undefined
  readonly users: readonly RedisUser[]
  readonly tls: { readonly files: TlsFiles; readonly mutual: boolean } | undefined
  /** More lines, of a Sentinel or a node of a Cluster. */
  readonly lines: readonly ConfigLine[]
}

/** The text of a redis.conf. A file and not arguments: Redis and Sentinel store in it what they learn. */
export function redisConfig({ port, folder, aof, password, users, tls, lines }: RedisConfig): string {
  const all = [
    ['bind', '127.0.0.1'],
    ['dir', folder],
    ['daemonize', 'no'],
    ['logfile', ''],
    ['save', ''],
    ...(aof
      ? [
          ['appendonly', 'yes'],
          ['appendfsync', 'always'],
        ]
      : [['appendonly', 'no']]),
    ...(password === undefined ? [] : [['requirepass', password]]),
    ...users.map((user) => ['user', user.name, 'on', `>${user.password}`, ...user.rules.split(/\s+/)]),
    ...(tls ? tlsLines(port, tls) : [['port', String(port)]]),
    ...lines,
  ]
  return all.map((words) => `${words.map(quoted).join(' ')}\n`).join('')
}

function tlsLines(port: number, { files, mutual }: NonNullable<RedisConfig['tls']>): string[][] {
  return [
    ['port', '0'],
    ['tls-port', String(port)],
    ['tls-cert-file', files.cert],
    ['tls-key-file', files.key],
    ['tls-ca-cert-file', files.ca],
    ['tls-auth-clients', mutual ? 'yes' : 'no'],
    // Also towards a master, other Sentinels and other nodes of a Cluster.
    ['tls-replication', 'yes'],
    ['tls-cluster', 'yes'],
  ]
}

function quoted(word: string): string {
  return `"${word.replaceAll(/["\\]/g, String.raw`\$&`)}"`
}
