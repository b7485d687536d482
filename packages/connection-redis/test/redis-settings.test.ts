import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { checkRedisOptions, type RedisOptions } from '../src/index.ts'
import { formatTarget, readCodedSettings, type RedisTarget, resolveTarget } from '../src/redis-target.ts'

const single = { addr: 'a:1' }
const sentinel = { masterName: 'm', sentinelAddrs: ['s:1'] }
const cluster = { clusterAddrs: ['n:1'] }
const rotated = (): string => 'pw'

/** A row for each option of the table: how it is written, and what it becomes. */
const rows: readonly (readonly [options: RedisOptions, target: Partial<RedisTarget>])[] = [
  [{ mode: 'single', ...single }, { mode: 'single' }],
  [{ mode: 'sentinel', ...sentinel }, { mode: 'sentinel' }],
  [{ mode: 'cluster', ...cluster }, { mode: 'cluster' }],
  [single, { mode: 'single', endpoints: [{ host: 'a', port: 1 }] }],
  [{ network: 'tcp', addr: 'a' }, { endpoints: [{ host: 'a', port: 6_379 }] }],
  [
    { network: 'unix', addr: '/run/redis.sock' },
    { endpoints: [], socketPath: '/run/redis.sock' },
  ],
  [{ ...single, db: 3 }, { db: 3 }],
  [{ ...single, user: 'ann' }, { username: 'ann' }],
  [{ ...single, password: 'pw' }, { password: 'pw' }],
  [{ ...single, password: rotated }, { password: rotated }],
  [
    { clusterAddrs: ['n1:1', 'n2'] },
    {
      mode: 'cluster',
      endpoints: [
        { host: 'n1', port: 1 },
        { host: 'n2', port: 6_379 },
      ],
    },
  ],
  [sentinel, { mode: 'sentinel', masterName: 'm', endpoints: [{ host: 's', port: 1 }] }],
  [{ ...sentinel, sentinelUsername: 'bob' }, { sentinelUsername: 'bob' }],
  [{ ...sentinel, sentinelPassword: 'pw' }, { sentinelPassword: 'pw' }],
  [{ ...single, clientName: 'shop' }, { clientName: 'shop' }],
  [{ ...cluster, routeRandomly: true }, { reads: { to: 'all', by: 'random' } }],
  [{ ...cluster, routeByLatency: true }, { reads: { to: 'all', by: 'latency' } }],
  [{ ...cluster, replicaOnly: true }, { reads: { to: 'replicas', by: 'random' } }],
  [{ ...cluster, replicaOnly: true, routeByLatency: true }, { reads: { to: 'replicas', by: 'latency' } }],
  [{ ...cluster, routeRandomly: false }, { reads: { to: 'master', by: 'random' } }],
  [{ ...single, maxRetries: 3 }, { maxRetries: 3 }],
  [{ ...single, maxRetries: -1 }, { maxRetries: 0 }],
  [{ ...single, dialTimeout: 5 }, { dialTimeoutMs: 5_000 }],
  [{ ...single, dialTimeout: 0.25 }, { dialTimeoutMs: 250 }],
  [{ ...single, poolSize: 10 }, { withoutEffect: ['pool_size'] }],
  [{ ...single, poolFifo: true }, { withoutEffect: ['pool_fifo'] }],
  [{ ...single, minIdleConns: 1 }, { withoutEffect: ['min_idle_conns'] }],
  [{ ...single, maxIdleConns: 2 }, { withoutEffect: ['max_idle_conns'] }],
  [
    { ...single, minRetryBackoff: 8 },
    { minBackoffMs: 8, maxBackoffMs: 1_000 },
  ],
  [
    { ...single, minRetryBackoff: 2_000 },
    { minBackoffMs: 2_000, maxBackoffMs: 2_000 },
  ],
  [
    { ...single, maxRetryBackoff: 512 },
    { minBackoffMs: 25, maxBackoffMs: 512 },
  ],
  [
    { ...single, maxRetryBackoff: 5 },
    { minBackoffMs: 5, maxBackoffMs: 5 },
  ],
  [{ ...single, tls: true, tlsServerName: 'redis.example' }, { tls: { servername: 'redis.example' } }],
]

const refused: readonly (readonly [why: string, options: RedisOptions, reason: string])[] = [
  [
    'an unknown mode',
    { ...single, ...raw({ mode: 'ring' }) },
    'mode is "ring"; it must be single or sentinel',
  ],
  [
    'an unknown network',
    { ...single, ...raw({ network: 'udp' }) },
    'network is "udp"; it must be tcp or unix',
  ],
  ['a number as an address', raw({ addr: 6_379 }), 'addr is 6379; it must be text'],
  ['a database that is no number', { ...single, ...raw({ db: 'zero' }) }, 'db is "zero"; it must be a whole'],
  ['a negative database', { ...single, db: -1 }, 'db is -1; it must be a whole number from 0'],
  ['half a retry', { ...single, maxRetries: 1.5 }, 'maxRetries is 1.5; it must be a whole number from -1'],
  ['no time to dial', { ...single, dialTimeout: 0 }, 'dialTimeout is 0; it must be a number of seconds'],
  [
    'an unknown unit',
    { ...single, ...raw({ dial_timeout: '5m' }) },
    'dial_timeout is "5m"; it must be a number',
  ],
  [
    'a negative backoff',
    { ...single, minRetryBackoff: -8 },
    'minRetryBackoff is -8; it must be a number of mil',
  ],
  [
    'a flag that is none',
    { ...cluster, ...raw({ replicaOnly: 'yes' }) },
    'replicaOnly is "yes"; it must be true',
  ],
  ['a list of numbers', raw({ clusterAddrs: [1] }), 'clusterAddrs is [1]; it must be a list of host:port'],
  [
    'a name with a space',
    { ...single, clientName: 'my shop' },
    'clientName is "my shop"; it must be text without',
  ],
  [
    'a password that is none',
    { ...single, ...raw({ password: 5 }) },
    'password is ***; it must be text or a func',
  ],
  ['both spellings', { ...cluster, replicaOnly: true, replica_only: true }, '"replica_only" is given twice'],
  [
    'backoffs in the wrong order',
    { ...single, minRetryBackoff: 9, maxRetryBackoff: 8 },
    'more than max_retry',
  ],
  ['two routes', { ...cluster, routeRandomly: true, routeByLatency: true }, 'exclude each other'],
  ['Sentinels of a Cluster', { ...cluster, sentinelAddrs: ['s:1'] }, 'sentinel_addrs is for mode sentinel'],
  ['a server of a Cluster', { ...cluster, addr: 'a:1' }, 'addr is for mode single, and this is mode cluster'],
  [
    'Cluster nodes of a server',
    { mode: 'single', ...single, ...cluster },
    'cluster_addrs is for mode cluster',
  ],
  ['a database of a Cluster', { ...cluster, db: 1 }, 'a Cluster has no database 1, only 0'],
  ['Sentinels without a name', { sentinelAddrs: ['s:1'] }, 'master_name is missing'],
  ['a Cluster without nodes', { mode: 'cluster', addr: '' }, 'cluster_addrs is missing'],
  ['a socket by half its path', { network: 'unix', addr: 'redis.sock' }, 'begins with /'],
  ['a socket of Sentinels', { ...sentinel, network: 'unix' }, 'a unix socket is for a single server'],
  ['a socket with TLS', { network: 'unix', addr: '/s', tls: true }, 'a unix socket has no TLS'],
  ['an address with a user', { addr: 'ann@a:1' }, '"ann@a:1" is no host with a port'],
]

describe('options', () => {
  it.each(rows)('%j is understood', (options, target) => {
    expect(targetOf(options)).toMatchObject(target)
  })

  it.each(rows)('%j is understood in snake_case', (options, target) => {
    expect(targetOf(inSnakeCase(options))).toMatchObject(target)
  })

  it.each(rows.filter(([options]) => options.password !== rotated && options.network !== 'unix'))(
    '%j is understood as parameters of an address',
    (options, target) => {
      const { place, others } = asAddress(options)
      for (const each of [others, inSnakeCase(others)]) {
        const url = `${place}?${toParameters(each)}`
        expect(resolveTarget('redisLock', {}, { url, source: 'REDIS_URL' })).toMatchObject(target)
      }
    },
  )

  it.each(rows.filter(([options]) => options.network !== 'unix'))(
    '%j completes an address',
    (options, target) => {
      const { place, others } = asAddress(options)
      const settings = readCodedSettings('redisLock', others)
      expect(resolveTarget('redisLock', settings, { url: place, source: 'REDIS_URL' })).toMatchObject(target)
    },
  )

  it.each([
    ['dial_timeout', '1500ms', { dialTimeoutMs: 1_500 }],
    ['dial_timeout', '2s', { dialTimeoutMs: 2_000 }],
    ['max_retry_backoff', '2s', { maxBackoffMs: 2_000 }],
    ['max_retry_backoff', '300', { maxBackoffMs: 300 }],
  ])('%s may be written %s', (name, text, target) => {
    expect(targetOf({ ...single, ...raw({ [name]: text }) })).toMatchObject(target)
  })

  it('count as not set when they are empty', () => {
    const empty = {
      ...single,
      password: '',
      clusterAddrs: [],
      masterName: '',
      ...raw({ db: null, user: undefined }),
    }
    expect(targetOf(empty)).toEqual(targetOf(single))
  })

  it.each(refused)('refuse %s, with the name, the value and what is accepted', (_, options, reason) => {
    const error = refusalOf(options)
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', retryable: false })
    expect(String(error)).toContain('redisLock: ')
    expect(String(error)).toContain(reason)
  })

  it('that contradict the address are refused, without secrets', () => {
    const url = 'redis://:s3cr3t@a:1/0'
    for (const [options, reason] of [
      [{ db: 1 }, 'db is given twice, as 0 and as 1'],
      [{ password: 'wr0ng' }, 'password is given twice, as *** and as ***'],
      [cluster, 'cluster_addrs is for mode cluster'],
      [{ mode: 'sentinel' }, 'mode is given twice, as "single" and as "sentinel"'],
    ] as const) {
      const error = refusalOf({ url, ...options })
      expect(error).toMatchObject({ code: 'MISCONFIGURED' })
      expect(String(error)).toContain(reason)
      expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(/s3cr3t|wr0ng/)
    }
  })

  it('that are none are refused by name', () => {
    expect(() => checkRedisOptions('redisLock', { ...single, ...raw({ dialTimeoutMs: 5 }) })).toThrow(
      /redisLock has no option "dialTimeoutMs"; it knows url, client, mode, /,
    )
  })

  it.each([{}, null, 'redis://localhost'])('refuse %j as a client', (client) => {
    expect(() => checkRedisOptions('redisLock', raw({ client }))).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining('client of ioredis'),
      }),
    )
  })

  it('tell core whether they name a server', () => {
    expect(checkRedisOptions('redisLock', { dialTimeout: 5 })).not.toHaveProperty('url')
    expect(checkRedisOptions('redisLock', { ...sentinel, password: 'pw' })).toMatchObject({
      url: 'redis+sentinel://:***@s:1/m/0',
    })
  })
})

/** For what the types forbid, and a program in JavaScript, or a file, may hold. */
function raw(options: object): RedisOptions {
  return options
}

function targetOf(options: RedisOptions): RedisTarget {
  const { url, ...settings } = options
  checkRedisOptions('redisLock', options)
  const address = url === undefined ? undefined : { url, source: 'url' }
  return resolveTarget('redisLock', readCodedSettings('redisLock', settings), address)
}

function refusalOf(options: RedisOptions): unknown {
  try {
    return { accepted: formatTarget(targetOf(options)) }
  } catch (error) {
    return error
  }
}

function inSnakeCase(options: object): RedisOptions {
  const toSnake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [toSnake(name), value]))
}

/** The place as an address, and what is left of the options. */
function asAddress(options: RedisOptions): { place: string; others: RedisOptions } {
  const { addr, clusterAddrs, sentinelAddrs, masterName, ...others } = options
  if (clusterAddrs !== undefined) return { place: `redis+cluster://${clusterAddrs.join()}`, others }
  if (sentinelAddrs !== undefined)
    return { place: `redis+sentinel://${sentinelAddrs.join()}/${masterName}`, others }
  return { place: `redis://${addr}`, others }
}

function toParameters(options: RedisOptions): string {
  const texts = Object.entries(options).map(([name, value]) => [name, String(value)] as const)
  return new URLSearchParams(Object.fromEntries(texts)).toString()
}
