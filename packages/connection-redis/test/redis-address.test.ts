import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { formatTarget, parseRedisUrl, type RedisTarget } from '../src/index.ts'

const plain: RedisTarget = {
  host: 'localhost',
  port: 6379,
  db: 0,
  username: undefined,
  password: undefined,
  tls: false,
}

const accepted: readonly (readonly [url: string, target: Partial<RedisTarget>, shown: string])[] = [
  ['redis://localhost', {}, 'redis://localhost:6379/0'],
  ['redis://localhost/', {}, 'redis://localhost:6379/0'],
  ['redis://localhost:1', { port: 1 }, 'redis://localhost:1/0'],
  ['redis://localhost:65535/15', { port: 65_535, db: 15 }, 'redis://localhost:65535/15'],
  ['redis://localhost/007', { db: 7 }, 'redis://localhost:6379/7'],
  ['rediss://cache.example', { host: 'cache.example', tls: true }, 'rediss://cache.example:6379/0'],
  ['redis://10.0.0.1:7000/3', { host: '10.0.0.1', port: 7_000, db: 3 }, 'redis://10.0.0.1:7000/3'],
  ['redis://[::1]', { host: '::1' }, 'redis://[::1]:6379/0'],
  [
    'redis://[2001:db8::7]:7000/2',
    { host: '2001:db8::7', port: 7_000, db: 2 },
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
]

const refused: readonly (readonly [why: string, url: string, reason: string])[] = [
  ['no URL at all', 'localhost', 'not a URL'],
  ['an empty text', '', 'not a URL'],
  ['a host and a port alone', 'localhost:6379', 'the scheme localhost:// is not known'],
  ['another scheme', 'http://localhost', 'the scheme http:// is not known'],
  ['Sentinel, which comes later', 'redis+sentinel://localhost/m/0', 'scheme redis+sentinel://'],
  ['no host', 'redis://', 'the host is missing'],
  ['no host but a database', 'redis:///3', 'the host is missing'],
  ['a password without a host', 'redis://:s3cr3t@', 'not a URL'],
  ['a port that is no number', 'redis://:s3cr3t@localhost:abc', 'not a URL'],
  ['a port out of range', 'redis://:s3cr3t@localhost:65536', 'not a URL'],
  ['port 0', 'redis://:s3cr3t@localhost:0', 'there is no port 0'],
  ['a database that is no number', 'redis://:s3cr3t@localhost/zero', 'the database "zero" is not a number'],
  ['a negative database', 'redis://:s3cr3t@localhost/-1', 'the database "-1"'],
  ['two databases', 'redis://:s3cr3t@localhost/1/2', 'the database "1/2"'],
  ['an unknown parameter', 'redis://:s3cr3t@localhost?tls=yes', 'the parameter "tls" is not known'],
  ['a fragment', 'redis://:s3cr3t@localhost/0#x', 'not in its place'],
  ['a % that is no escape in the password', 'redis://:s3cr3t%zz@localhost', 'write it as %25'],
  ['a % that is no escape in the user', 'redis://50%:s3cr3t@localhost', 'write it as %25'],
  ['half an escaped character', 'redis://:s3cr3t%C3@localhost', 'write it as %25'],
  ['a password with a bare slash', 'redis://ann:x@y/s3cr3t@localhost:6379/0', '%2F'],
  ['a password with a bare question mark', 'redis://ann:x@y?s3cr3t@localhost', '%3F'],
  ['a password with a bare #', 'redis://ann:12#s3cr3t@localhost:6379/0', '%23'],
  ['a numeric password with a bare slash', 'redis://ann:12/s3cr3t@localhost', '%2F'],
]

describe('parseRedisUrl', () => {
  it.each(accepted)('reads %s', (url, target) => {
    expect(parseRedisUrl({ url, source: 'REDIS_URL' })).toEqual({ ...plain, ...target })
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

function refusalOf(url: string): unknown {
  try {
    return { accepted: parseRedisUrl({ url, source: 'REDIS_URL' }) }
  } catch (error) {
    return error
  }
}
