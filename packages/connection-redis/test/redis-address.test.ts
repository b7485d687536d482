import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { formatTarget, type RedisTarget, resolveTarget } from '../src/redis-target.ts'

const plain: RedisTarget = {
  mode: 'single',
  endpoints: [{ host: 'localhost', port: 6379 }],
  socketPath: undefined,
  masterName: undefined,
  db: 0,
  username: undefined,
  password: undefined,
  sentinelUsername: undefined,
  sentinelPassword: undefined,
  tls: undefined,
  clientName: undefined,
  reads: { to: 'master', by: 'random' },
  maxRetries: 0,
  dialTimeoutMs: undefined,
  minBackoffMs: 25,
  maxBackoffMs: 1_000,
  withoutEffect: [],
}

const accepted: readonly (readonly [url: string, target: Partial<RedisTarget>, shown: string])[] = [
  ['redis://localhost', {}, 'redis://localhost:6379/0'],
  ['redis://localhost/', {}, 'redis://localhost:6379/0'],
  ['redis://localhost:1', { endpoints: [{ host: 'localhost', port: 1 }] }, 'redis://localhost:1/0'],
  [
    'redis://localhost:65535/15',
    { endpoints: [{ host: 'localhost', port: 65_535 }], db: 15 },
    'redis://localhost:65535/15',
  ],
  ['redis://localhost/007', { db: 7 }, 'redis://localhost:6379/7'],
  [
    'rediss://cache.example',
    { endpoints: [{ host: 'cache.example', port: 6379 }], tls: {} },
    'rediss://cache.example:6379/0',
  ],
  [
    'redis://10.0.0.1:7000/3',
    { endpoints: [{ host: '10.0.0.1', port: 7_000 }], db: 3 },
    'redis://10.0.0.1:7000/3',
  ],
  ['redis://[::1]', { endpoints: [{ host: '::1', port: 6379 }] }, 'redis://[::1]:6379/0'],
  [
    'redis://[2001:db8::7]:7000/2',
    { endpoints: [{ host: '2001:db8::7', port: 7_000 }], db: 2 },
    'redis://[2001:db8::7]:7000/2',
  ],
  ['redis://:pw@localhost', { password: 'pw' }, 'redis://:***@localhost:6379/0'],
  ['redis://ann:pw@localhost', { username: 'ann', password: 'pw' }, 'redis://ann:***@localhost:6379/0'],
  ['redis://ann@localhost', { username: 'ann' }, 'redis://ann:***@localhost:6379/0'],
  [
    'redis://a%3Ab%40c:%2F%3F%23%40%25%3A%20%C3%A4@localhost',
    { username: 'a:b@c', password: '/?#@%: ä' },
    'redis://a:b@c:***@localhost:6379/0',
  ],
  ['redis://:p$w&=+;!@localhost', { password: 'p$w&=+;!' }, 'redis://:***@localhost:6379/0'],
  [
    'redis+sentinel://s1,s2:7,[::1]/my.master-1',
    {
      mode: 'sentinel',
      endpoints: hosts(['s1', 26_379], ['s2', 7], ['::1', 26_379]),
      masterName: 'my.master-1',
    },
    'redis+sentinel://s1:26379,s2:7,[::1]:26379/my.master-1/0',
  ],
  [
    'rediss+sentinel://ann:pw@s1/m/3?sentinelUsername=bob&sentinel_password=s3%26cr3t',
    {
      mode: 'sentinel',
      endpoints: hosts(['s1', 26_379]),
      masterName: 'm',
      db: 3,
      username: 'ann',
      password: 'pw',
      sentinelUsername: 'bob',
      sentinelPassword: 's3&cr3t',
      tls: {},
    },
    'rediss+sentinel://ann:***@s1:26379/m/3',
  ],
  [
    'redis+cluster://:pw@n1,n2:7001,[2001:db8::7]:7002',
    {
      mode: 'cluster',
      endpoints: hosts(['n1', 6_379], ['n2', 7_001], ['2001:db8::7', 7_002]),
      password: 'pw',
    },
    'redis+cluster://:***@n1:6379,n2:7001,[2001:db8::7]:7002',
  ],
  [
    'rediss+cluster://n1/0?tls_server_name=redis.example',
    { mode: 'cluster', endpoints: hosts(['n1', 6_379]), tls: { servername: 'redis.example' } },
    'rediss+cluster://n1:6379',
  ],
  ['redis://localhost?tls=true', { tls: {} }, 'rediss://localhost:6379/0'],
  ['unix:///run/redis.sock', { endpoints: [], socketPath: '/run/redis.sock' }, 'unix:///run/redis.sock?db=0'],
  [
    'unix://ann:pw@/run/my%20redis.sock?db=3',
    { endpoints: [], socketPath: '/run/my redis.sock', username: 'ann', password: 'pw', db: 3 },
    'unix://ann:***@/run/my redis.sock?db=3',
  ],
]

function hosts(...each: readonly (readonly [host: string, port: number])[]): RedisTarget['endpoints'] {
  return each.map(([host, port]) => ({ host, port }))
}

const refused: readonly (readonly [why: string, url: string, reason: string])[] = [
  ['no URL at all', 'localhost', 'not a URL'],
  ['an empty text', '', 'not a URL'],
  ['a host and a port alone', 'localhost:6379', 'the scheme localhost:// is not known'],
  ['another scheme', 'http://localhost', 'the scheme http:// is not known'],
  ['no host', 'redis://', 'the host is missing'],
  ['no host but a database', 'redis:///3', 'the host is missing'],
  ['a password without a host', 'redis://:s3cr3t@', 'the host is missing'],
  ['a port that is no number', 'redis://:s3cr3t@localhost:abc', 'is no host with a port'],
  ['a port out of range', 'redis://:s3cr3t@localhost:65536', 'is no host with a port'],
  ['port 0', 'redis://:s3cr3t@localhost:0', 'there is no port 0'],
  ['a database that is no number', 'redis://:s3cr3t@localhost/zero', 'the database "zero" is not a number'],
  ['a negative database', 'redis://:s3cr3t@localhost/-1', 'the database "-1"'],
  ['two databases', 'redis://:s3cr3t@localhost/1/2', 'the database "1/2"'],
  ['an unknown parameter', 'redis://:s3cr3t@localhost?ssl=yes', '"ssl" is not known'],
  ['TLS that is contradicted', 'rediss://:s3cr3t@localhost?tls=false', 'tls is given twice'],
  ['two databases in two places', 'redis://:s3cr3t@localhost/1?db=2', 'db is given twice'],
  ['two passwords', 'redis://:s3cr3t@localhost?password=s3cr3t2', 'password is given twice'],
  ['another mode than its scheme', 'redis://:s3cr3t@localhost?mode=cluster', 'mode is given twice'],
  ['a socket with a host', 'unix://:s3cr3t@localhost/run/redis.sock', 'a socket has no host'],
  ['a socket without a path', 'unix://:s3cr3t@', 'the whole path of the socket'],
  ['a fragment', 'redis://:s3cr3t@localhost/0#x', 'not in its place'],
  ['a % that is no escape in the password', 'redis://:s3cr3t%zz@localhost', 'write it as %25'],
  ['a % that is no escape in the user', 'redis://50%:s3cr3t@localhost', 'write it as %25'],
  ['half an escaped character', 'redis://:s3cr3t%C3@localhost', 'write it as %25'],
  ['a password with a bare slash', 'redis://ann:x@y/s3cr3t@localhost:6379/0', '%2F'],
  ['a password with a bare question mark', 'redis://ann:x@y?s3cr3t@localhost', '%3F'],
  ['a password with a bare #', 'redis://ann:12#s3cr3t@localhost:6379/0', '%23'],
  ['a numeric password with a bare slash', 'redis://ann:12/s3cr3t@localhost', '%2F'],
  ['an unknown topology', 'redis+ring://:s3cr3t@localhost', 'the scheme redis+ring:// is not known'],
  ['several hosts of one server', 'redis://:s3cr3t@a,b', 'several hosts need'],
  ['a list with a gap', 'redis+cluster://:s3cr3t@a,,b', 'the host is missing'],
  ['a bad port in a list', 'redis+cluster://:s3cr3t@a,b:x', '"b:x" is no host with a port'],
  ['port 0 in a list', 'redis+cluster://:s3cr3t@a,b:0', 'there is no port 0'],
  ['Sentinels without a master', 'redis+sentinel://:s3cr3t@a,b', 'the name of the master is missing'],
  ['a malformed master', 'redis+sentinel://:s3cr3t@a/m%20x/0', 'the name of the master is missing or mal'],
  ['a database of the master that is no number', 'redis+sentinel://:s3cr3t@a/m/x', 'malformed'],
  ['a database in a Cluster', 'redis+cluster://:s3cr3t@a/1', 'a Cluster has no database 1, only 0'],
  ['a name in a Cluster', 'redis+cluster://:s3cr3t@a/m', 'the database "m" is not a number'],
  ['Sentinel credentials elsewhere', 'redis://a?sentinelPassword=s3cr3t', 'is for mode sentinel'],
  [
    'a parameter twice',
    'redis+sentinel://a/m?sentinelPassword=s3cr3t&sentinel_password=s3cr3t',
    'given twice',
  ],
  ['TLS files without TLS', 'redis://:s3cr3t@a?tls_ca_file=/ca', 'tls_ca_file is for TLS'],
  [
    'a file that is not there',
    'rediss://:s3cr3t@a?tls_ca_file=/no/such',
    'file of tls_ca_file cannot be read',
  ],
  ['half of a certificate', `rediss://:s3cr3t@a?tls_cert_file=${import.meta.filename}`, 'belong together'],
]

describe('an address', () => {
  it.each(accepted)('reads %s', (url, target) => {
    expect(targetOf(url)).toEqual({ ...plain, ...target })
  })

  it.each(refused)(
    'refuses %s, and names the variable, the reason and the accepted form',
    (_, url, reason) => {
      const error = refusalOf(url)
      expect(error).toMatchObject({
        code: 'MISCONFIGURED',
        retryable: false,
        details: { source: 'REDIS_URL' },
      })
      expect(String(error)).toContain('REDIS_URL=')
      expect(String(error)).toContain(reason)
      expect(String(error)).toContain('redis://[user:password@]host[:port][/db]')
    },
  )

  it.each(refused)('never shows the password when it refuses %s', (_, url) => {
    expect(inspect(refusalOf(url), { depth: 10, showHidden: true })).not.toContain('s3cr3t')
  })

  it('would be caught showing it: the control', () => {
    expect(inspect(new Error('redis://:s3cr3t@localhost'), { depth: 10 })).toContain('s3cr3t')
  })
})

describe('formatTarget', () => {
  it.each(accepted)('shows %s without its password', (_, target, shown) => {
    expect(formatTarget({ ...plain, ...target })).toBe(shown)
  })
})

function targetOf(url: string): RedisTarget {
  return resolveTarget('redisLock', {}, { url, source: 'REDIS_URL' })
}

function refusalOf(url: string): unknown {
  try {
    return { accepted: targetOf(url) }
  } catch (error) {
    return error
  }
}
