import { describe, expect, it } from 'vitest'
import { backoffMs, refusedBackoffMs } from '../src/backoff.ts'
import { toRabbitmqError } from '../src/index.ts'
import { headerBytes } from '../src/message-size.ts'
import { closedBy, isFatalForConnect, reasonOf } from '../src/rabbitmq-errors.ts'

const origin = { address: 'amqp://a', operation: 'asking', outcome: 'unknown' } as const

function reply(code: number, text: string): Error {
  return new Error(`Operation failed: QueueDeclare; ${code} (SOME-NAME) with message "${text}"`)
}

describe('errors of RabbitMQ', () => {
  it.each<readonly [number, string, string, string]>([
    [311, 'CONTENT_TOO_LARGE', 'TOO_LARGE', 'not-sent'],
    [320, 'CONNECTION_FORCED - broker forced connection closure', 'UNAVAILABLE', 'unknown'],
    [
      403,
      'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.',
      'MISCONFIGURED',
      'not-sent',
    ],
    [
      403,
      "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'ann'",
      'MISCONFIGURED',
      'not-sent',
    ],
    [403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use", 'UNAVAILABLE', 'not-sent'],
    [404, "NOT_FOUND - no queue 'q' in vhost '/'", 'NOT_FOUND', 'not-sent'],
    [
      404,
      "NOT_FOUND - home node 'rabbit@x' of durable queue 'q' in vhost '/' is down or inaccessible",
      'UNAVAILABLE',
      'not-sent',
    ],
    [404, "NOT_FOUND - no exchange 'the home node' in vhost '/'", 'NOT_FOUND', 'not-sent'],
    [405, 'RESOURCE_LOCKED - cannot obtain exclusive access to locked queue', 'UNAVAILABLE', 'not-sent'],
    [406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q'", 'MISCONFIGURED', 'not-sent'],
    [
      406,
      'PRECONDITION_FAILED - message size 17 is larger than configured max size 16',
      'TOO_LARGE',
      'not-sent',
    ],
    [406, 'PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out', 'LOST', 'not-sent'],
    [406, 'PRECONDITION_FAILED - unknown delivery tag 7', 'INTERNAL', 'not-sent'],
    [406, 'PRECONDITION_FAILED - anything else', 'REJECTED', 'not-sent'],
    [506, 'RESOURCE_ERROR', 'EXHAUSTED', 'not-sent'],
    [540, 'NOT_IMPLEMENTED', 'UNSUPPORTED', 'not-sent'],
    [541, 'INTERNAL_ERROR', 'UNAVAILABLE', 'unknown'],
    [599, 'NEW', 'REJECTED', 'not-sent'],
  ])('%d %s is %s', (code, text, expected, outcome) => {
    const native = reply(code, text)
    const error = toRabbitmqError(native, origin)
    expect(error).toMatchObject({ code: expected, outcome, cause: native, details: { replyCode: code } })
    expect(error.message).toContain(`RabbitMQ at amqp://a: asking failed: ${text.replace(/\.$/, '')}`)
  })

  it('without a reply are a lost connection, and what amqplib refuses is what it is', () => {
    expect(toRabbitmqError(new Error('read ECONNRESET'), origin)).toMatchObject({
      code: 'UNAVAILABLE',
      outcome: 'unknown',
    })
    expect(toRabbitmqError(new RangeError('too long'), origin)).toMatchObject({ code: 'TOO_LARGE' })
    expect(toRabbitmqError(new TypeError('no text'), origin)).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(toRabbitmqError('thrown text', origin)).toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('are wrapped once', () => {
    const error = toRabbitmqError(new Error('x'), origin)
    expect(toRabbitmqError(error, { ...origin, operation: 'more' })).toBe(error)
  })

  it('know which need a person, and which operation closed a channel', () => {
    expect(isFatalForConnect(reply(403, 'ACCESS_REFUSED - Login was refused'))).toBe(true)
    expect(isFatalForConnect(new Error('Expected ConnectionOpenOk; got <ConnectionClose channel:0>'))).toBe(
      true,
    )
    expect(
      isFatalForConnect(new AggregateError([Object.assign(new Error('x'), { code: 'CERT_HAS_EXPIRED' })])),
    ).toBe(true)
    expect(isFatalForConnect(new Error('connect ECONNREFUSED'))).toBe(false)
    expect(isFatalForConnect(reply(320, 'CONNECTION_FORCED'))).toBe(false)
    expect(closedBy(Object.assign(new Error('x'), { classId: 60, methodId: 80 }))).toBe(
      'acknowledging a delivery',
    )
    expect(closedBy(new Error('x'))).toBeUndefined()
    expect(
      reasonOf(Object.assign(new Error('40CD:error:x.c:77:'), { library: 'SSL', reason: 'wrong version' })),
    ).toBe('wrong version')
  })
})

describe('back-off', () => {
  it('is full jitter, doubled each time from 0.1 to 3 s', () => {
    for (const [attempt, longestMs] of [
      [0, 100],
      [1, 200],
      [4, 1_600],
      [7, 3_000],
      [500, 3_000],
    ] as const) {
      const waits = Array.from({ length: 2_000 }, () => backoffMs(attempt))
      expect(Math.min(...waits)).toBeLessThan(longestMs * 0.1)
      expect(Math.max(...waits)).toBeGreaterThan(longestMs * 0.9)
      expect(Math.max(...waits)).toBeLessThanOrEqual(longestMs)
    }
    for (let n = 0; n < 100; n += 1) expect(refusedBackoffMs()).toBeGreaterThanOrEqual(5_000)
  })
})

describe('the size of headers', () => {
  it('is never less than in AMQP', () => {
    // By name: a length byte, the name, a type byte, and 4 bytes of length or up to 8 of a number.
    expect(headerBytes({})).toBeGreaterThanOrEqual(4)
    expect(headerBytes({ a: 'äö' })).toBeGreaterThanOrEqual(4 + 2 + 1 + 4 + 4)
    expect(headerBytes({ a: 1, b: true, c: null })).toBeGreaterThanOrEqual(4 + 3 * 2 + 9 + 2 + 1)
    expect(headerBytes({ a: ['x', { b: Buffer.alloc(10) }] })).toBeGreaterThanOrEqual(
      4 + 2 + 5 + 6 + 5 + 2 + 15,
    )
  })
})
