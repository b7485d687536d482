import { inspect } from 'node:util'
import { MultinodeError } from '@multinode/core'
import { ReplyError } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { slotPrefix, toRedisError } from '../src/index.ts'

const origin = { address: 'redis://here:6379/0', operation: 'acquire', outcome: 'unknown' } as const

describe('toRedisError', () => {
  it('leaves a typed error as it is', () => {
    const error = new MultinodeError('TIMEOUT', 'too late')
    expect(toRedisError(error, origin)).toBe(error)
  })

  // As the sources of Redis 6.2 word them; a 7.0 runs in the integration tests.
  it.each([
    ["-OOM command not allowed when used memory > 'maxmemory'.", 'EXHAUSTED'],
    ["-READONLY You can't write against a read only replica.", 'UNAVAILABLE'],
    ["The user executing the script can't run this command or subcommand", 'MISCONFIGURED'],
    ['Unknown Redis command called from Lua script', 'UNSUPPORTED'],
    ['Wrong number of args calling Redis command From Lua script', 'REJECTED'],
  ])('understands what Redis 6.2 wraps when it comes from inside a script: %s', (reply, code) => {
    const hash = 'c0ffee'.repeat(7).slice(0, 40)
    const message = `ERR Error running script (call to f_${hash}): @user_script:3: @user_script: 3: ${reply}`
    expect(toRedisError(new ReplyError(message), origin)).toMatchObject({ code, outcome: 'unknown' })
  })

  it.each(['MOVED 3999 127.0.0.1:6381', 'ASK 3999 127.0.0.1:6381', 'TRYAGAIN Multiple keys request'])(
    'takes what a node says that does not have the slot as not carried out: %s',
    (message) => {
      expect(toRedisError(new ReplyError(message), origin)).toMatchObject({
        code: 'UNAVAILABLE',
        retryable: true,
        outcome: 'not-sent',
      })
    },
  )

  it('understands how Redis 8 says that a script lacks a permission', () => {
    const message =
      "ERR ACL failure in script: User bob has no permissions to run the 'lpush' command script: c0ffee, on @user_script:1."
    expect(toRedisError(new ReplyError(message), origin)).toMatchObject({
      code: 'MISCONFIGURED',
      outcome: 'unknown',
    })
  })

  it.each([
    "ERR unknown command 'auth', with args beginning with: 'bob' 's3cr3t' ",
    'ERR unknown command `AUTH`, with args beginning with: `s3cr3t`, ',
  ])('does not repeat what the server quotes of a command: %s', (message) => {
    const error = toRedisError(new ReplyError(message), origin)
    expect(error).toMatchObject({ code: 'UNSUPPORTED', outcome: 'not-sent' })
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('s3cr3t')
  })

  it('tells the first reason when a host name has several addresses and none answers', () => {
    const refused = ['::1', '127.0.0.1'].map((host) => new Error(`connect ECONNREFUSED ${host}:6379`))
    const error = toRedisError(new AggregateError(refused), origin)
    expect(error.code).toBe('UNAVAILABLE')
    expect(error.message).toContain('connect ECONNREFUSED ::1:6379')
  })

  it('takes whatever was thrown', () => {
    expect(toRedisError('a text', origin)).toMatchObject({
      code: 'UNAVAILABLE',
      cause: { message: 'a text' },
    })
  })
})

describe('slotPrefix', () => {
  it('keeps different names apart, whatever their braces and escapes', () => {
    const names = ['a', '{a}', '}a{', '%7Ba%7D', '{a', 'a}', '%a', '%25a', '%%7B', '']
    const prefixes = names.map((name) => slotPrefix('shop', 'lock', name))
    expect(new Set(prefixes).size).toBe(names.length)
    for (const prefix of prefixes) expect(prefix).toMatch(/^\{shop:lock:[^{}]*\}$/)
  })
})
