import { describe, expect, test } from 'vitest'
import { Job } from '../../src/queue/job.ts'
import { failureOf } from '../support/outcome.ts'
import { delivery } from './queue-on.ts'

function job(onProgress: (value: unknown) => Promise<void> = async () => {}): Job {
  const came = delivery({ headers: { trace: 'abc' }, addedAtMs: 7 }, { attempt: 2, redelivered: true })
  return new Job('mails', { to: 'ann' }, came, onProgress)
}

describe('a job', () => {
  test('says what it is about', () => {
    const { id, queue, payload, headers, attempt, attemptsMax, redelivered, addedAtMs } = job()
    expect({ id, queue, payload, headers, attempt, attemptsMax, redelivered, addedAtMs }).toEqual({
      id: 'job-1',
      queue: 'mails',
      payload: { to: 'ann' },
      headers: { trace: 'abc' },
      attempt: 2,
      attemptsMax: 3,
      redelivered: true,
      addedAtMs: 7,
    })
  })

  test('has one signal, which is aborted with the reason', () => {
    const each = job()
    const { signal } = each
    expect([each.signal === signal, signal.aborted]).toEqual([true, false])
    each.abort('timeout')
    expect([signal.aborted, signal.reason]).toEqual([true, 'timeout'])
  })

  test('that was aborted before anybody asked has a signal that is aborted', () => {
    const each = job()
    each.abort('shutdown')
    const { signal } = each
    expect([signal.aborted, signal.reason, each.signal === signal]).toEqual([true, 'shutdown', true])
  })

  test.each([true, false])('keeps the first reason, asked before: %s', (isAskedBefore) => {
    const each = job()
    const asked = isAskedBefore ? each.signal.aborted : false
    each.abort('lock-lost')
    each.abort('shutdown')
    expect([asked, each.signal.reason]).toEqual([false, 'lock-lost'])
  })

  test('passes its progress on, and rejects where the backend cannot, rather than throw', async () => {
    const seen: unknown[] = []
    await job(async (value) => void seen.push(value)).progress(0.5)
    expect(seen).toEqual([0.5])
    const refused = job(() => {
      throw new Error('no progress here')
    }).progress(1)
    expect(await failureOf(() => refused)).toMatchObject({ message: 'no progress here' })
  })
})
