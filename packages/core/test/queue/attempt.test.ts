import { describe, expect, test } from 'vitest'
import { Attempt } from '../../src/queue/attempt.ts'
import { Job } from '../../src/queue/job.ts'
import { ManualClock } from '../../src/testing/index.ts'
import { Later, never, type Outcome, watch } from '../support/outcome.ts'
import { delivery } from './queue-on.ts'

interface Begun {
  readonly clock: ManualClock
  readonly attempt: Attempt
  readonly end: Outcome
}

function begin(handler: (job: Job) => unknown, timeoutMs?: number): Begun {
  const clock = new ManualClock()
  const job = new Job('mails', undefined, delivery(), async () => {})
  const attempt = new Attempt(job, { timeoutMs, handlerGraceMs: 50, clock })
  return { clock, attempt, end: watch(attempt.run(handler)) }
}

describe('an attempt', () => {
  test.each([
    ['resolves', async () => 'value'],
    ['returns', () => 'value'],
  ])('whose handler %s is completed, and leaves no timer', async (_, handler) => {
    const { clock, attempt, end } = begin(handler, 100)
    await clock.advance(0)
    expect([end.value, attempt.reason, clock.pendingTimers]).toEqual([{ type: 'completed' }, undefined, 0])
  })

  const failure = new Error('failed')
  test.each([
    ['rejects', (): unknown => Promise.reject(failure)],
    [
      'throws',
      (): never => {
        throw failure
      },
    ],
  ])('whose handler %s has failed, and leaves no timer', async (_, handler) => {
    const { clock, end } = begin(handler, 100)
    await clock.advance(0)
    expect([end.value, clock.pendingTimers]).toEqual([{ type: 'failed', error: failure }, 0])
  })

  test('without a timeout goes on for as long as it wants, without a timer', async () => {
    const { clock, end } = begin(never)
    await clock.advance(1_000_000)
    expect([end.state, clock.pendingTimers]).toEqual(['pending', 0])
  })

  test('is told at its timeout, and not before; what its handler does then counts', async () => {
    const work = new Later<void>()
    const { clock, attempt, end } = begin(() => work.promise, 100)
    await clock.advance(99)
    expect(attempt.job.signal.aborted).toBe(false)
    await clock.advance(1)
    expect([attempt.job.signal.reason, attempt.reason, end.state]).toEqual(['timeout', 'timeout', 'pending'])
    await clock.advance(49)
    work.resolve()
    await clock.advance(0)
    expect([end.value, clock.pendingTimers]).toEqual([{ type: 'completed' }, 0])
  })

  test('whose handler goes on for longer than its grace is abandoned; what comes later is ignored', async () => {
    const work = new Later<void>()
    const { clock, end } = begin(() => work.promise, 100)
    await clock.advance(149)
    expect(end.state).toBe('pending')
    await clock.advance(1)
    expect([end.value, clock.pendingTimers]).toEqual([{ type: 'abandoned' }, 0])
    work.reject(new Error('late, and nobody waits'))
    await clock.advance(1_000)
    expect(end.value).toEqual({ type: 'abandoned' })
  })

  test('keeps its first reason, and the grace that began with it', async () => {
    const { clock, attempt, end } = begin(never, 100)
    attempt.abort('lock-lost')
    await clock.advance(40)
    attempt.abort('shutdown')
    expect([attempt.reason, attempt.job.signal.reason]).toEqual(['lock-lost', 'lock-lost'])
    await clock.advance(10)
    expect([end.value, clock.pendingTimers]).toEqual([{ type: 'abandoned' }, 0])
  })

  test('that is aborted before it runs leaves no timer either', async () => {
    const clock = new ManualClock()
    const job = new Job('mails', undefined, delivery(), async () => {})
    const attempt = new Attempt(job, { timeoutMs: 100, handlerGraceMs: 50, clock })
    attempt.abort('cancelled')
    const end = watch(attempt.run(({ signal }) => expect(signal.reason).toBe('cancelled')))
    await clock.advance(0)
    expect([end.value, clock.pendingTimers]).toEqual([{ type: 'completed' }, 0])
  })

  test('that is aborted in the moment of its end leaves no timer either', async () => {
    const work = new Later<void>()
    const { clock, attempt, end } = begin(() => work.promise, 100)
    work.resolve()
    attempt.abort('shutdown')
    await clock.advance(0)
    expect([end.value, clock.pendingTimers]).toEqual([{ type: 'completed' }, 0])
  })
})
