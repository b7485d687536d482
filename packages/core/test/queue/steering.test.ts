import { describe, expect, test } from 'vitest'
import { RetryLater, UnrecoverableJobError } from '../../src/index.ts'
import { isRetryLater, isUnrecoverable } from '../../src/queue/steering.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf } from '../support/outcome.ts'

describe('what a handler throws to say what becomes of its job', () => {
  test('is an error with a name, a message and a cause', () => {
    const cause = new Error('why')
    expect(new UnrecoverableJobError('no such user', { cause })).toMatchObject({
      name: 'UnrecoverableJobError',
      message: 'no such user',
      cause,
    })
    expect(new RetryLater(50)).toMatchObject({ name: 'RetryLater', message: 'again in 50 ms', delayMs: 50 })
    expect(new RetryLater(0, 'busy')).toMatchObject({ message: 'busy', delayMs: 0 })
  })

  test('is told from all else', () => {
    class NoSuchUser extends UnrecoverableJobError {}
    const [dead, later, plain] = [new NoSuchUser(), new RetryLater(1), new Error('plain')]
    expect([dead, later, plain, undefined, 'dead', {}].map(isUnrecoverable)).toEqual([
      true,
      ...Array<boolean>(5).fill(false),
    ])
    expect([dead, later, plain, null, 'later', {}].map(isRetryLater)).toEqual([
      false,
      true,
      ...Array<boolean>(4).fill(false),
    ])
  })

  test('is known also when it comes from another copy of core', () => {
    const brand = Symbol.for('multinode.queue.steering')
    expect(isUnrecoverable(Object.assign(new Error('copy'), { [brand]: 'dead' }))).toBe(true)
    expect(isRetryLater(Object.assign(new Error('copy'), { [brand]: 'later', delayMs: 5 }))).toBe(true)
  })

  test.each([-1, 1.5, Number.NaN, 2 ** 31, '5', undefined])('refuses a delay of %s', async (delayMs) => {
    const error = await failureOf(() => callUntyped(Reflect, 'construct', [RetryLater, [delayMs]]))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name: 'delayMs' } })
  })
})
