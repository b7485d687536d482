import { describe, expect, test } from 'vitest'
import { MultinodeError } from '../../src/index.ts'
import { withDeadline } from '../../src/runtime/deadline.ts'
import { DriverCalls } from '../../src/runtime/driver-calls.ts'
import { capabilityContext, ManualClock } from '../../src/testing/index.ts'
import { failureOf, Later, never, watch } from '../support/outcome.ts'

function setUp(): { clock: ManualClock; calls: DriverCalls } {
  const clock = new ManualClock()
  return { clock, calls: new DriverCalls(capabilityContext('lock', 'acme', { clock })) }
}

describe('DriverCalls', () => {
  test('gives back what the driver answers, and leaves no timer', async () => {
    const { clock, calls } = setUp()
    expect(await calls.call('acquire', 100, async () => 'yes')).toBe('yes')
    expect(clock.pendingTimers).toBe(0)
  })

  test('rejects with TIMEOUT 5 % after the deadline of a driver that never answers', async () => {
    const { clock, calls } = setUp()
    const call = watch(calls.call('acquire', 1_000, never))
    await clock.advance(1_049)
    expect(call.state).toBe('pending')
    await clock.advance(2)
    expect(call.value).toMatchObject({
      code: 'TIMEOUT',
      retryable: true,
      outcome: 'unknown',
      capability: 'lock',
      backend: 'acme',
      details: { operation: 'acquire', timeoutMs: 1_000 },
    })
    expect(clock.pendingTimers).toBe(0)
  })

  test("leaves a driver's own typed error as it is, with its own timeout before ours", async () => {
    const { clock, calls } = setUp()
    const own = new MultinodeError('TIMEOUT', 'of the driver', { outcome: 'not-sent' })
    const call = watch(calls.call('acquire', 1_000, () => withDeadline(clock, 1_000, never(), () => own)))
    await clock.advance(2_000)
    expect(call.value).toBe(own)
  })

  test.each<readonly [string, () => Promise<never>]>([
    ['rejects', () => Promise.reject(new TypeError('odd'))],
    [
      'throws before it returns a promise',
      () => {
        throw new TypeError('odd')
      },
    ],
  ])('wraps the error of a driver that %s, exactly once', async (_, work) => {
    const { clock, calls } = setUp()
    const error = await failureOf(() => calls.call('outer', 100, () => calls.call('inner', 100, work)))
    expect(error).toMatchObject({ code: 'INTERNAL', cause: { name: 'TypeError', message: 'odd' } })
    expect(error).toMatchObject({ message: expect.stringContaining('lock on acme: inner failed: odd') })
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('withDeadline', () => {
  test('ignores what comes after the deadline', async () => {
    const clock = new ManualClock()
    const late = new Later<string>()
    const call = watch(withDeadline(clock, 100, late.promise, () => new Error('too late')))
    await clock.advance(100)
    late.reject(new Error('whatever'))
    await clock.advance(0)
    expect(call.value).toMatchObject({ message: 'too late' })
  })

  test('copes with plain JavaScript that returns no promise', async () => {
    const clock = new ManualClock()
    const answer: unknown = await Reflect.apply(withDeadline, undefined, [
      clock,
      100,
      'plain',
      () => new Error('late'),
    ])
    expect(answer).toBe('plain')
    expect(clock.pendingTimers).toBe(0)
  })
})
