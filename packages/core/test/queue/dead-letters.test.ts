import { describe, expect, test } from 'vitest'
import type { DeadJob } from '../../src/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, never, watch } from '../support/outcome.ts'
import { QueueOn, record } from './queue-on.ts'

const failure = {
  reason: 'failed',
  name: 'Error',
  message: 'no',
  stack: '',
  nodeId: 'n1',
  attempts: 3,
  atMs: 5,
} as const

function dead(payload: string): DeadJob {
  return { record: record({ payload, headers: { trace: 'abc' } }), failure }
}

describe('dead letters', () => {
  test('are listed with what was added, and text where that is no JSON', async () => {
    const asked: unknown[] = []
    const on = new QueueOn({
      listDead: async (limit, timeoutMs) => {
        asked.push([limit, timeoutMs])
        return [dead('{"to":"ann"}'), dead(''), dead('{')]
      },
    })
    const about = { id: 'job-1', headers: { trace: 'abc' }, addedAtMs: 0, failure }
    expect(await on.queue().deadLetters.list()).toEqual([
      { ...about, payload: { to: 'ann' } },
      { ...about, payload: undefined },
      { ...about, payload: '{' },
    ])
    await on.queue().deadLetters.list({ limit: 10_000 })
    expect(asked).toEqual([
      [100, 5_000],
      [10_000, 5_000],
    ])
  })

  test('are redriven by number or by id, and purged; each says how many', async () => {
    const asked: unknown[] = []
    const on = new QueueOn({
      redrive: async (choice) => {
        asked.push(choice)
        return 7
      },
      purgeDead: async () => 9,
    })
    const { deadLetters } = on.queue()
    expect(await deadLetters.redrive()).toBe(7)
    await deadLetters.redrive({ limit: 5 })
    await deadLetters.redrive({ ids: ['a', 'b'] })
    expect(asked).toEqual([{ limit: 10_000 }, { limit: 5 }, { ids: ['a', 'b'], limit: 10_000 }])
    expect(await deadLetters.purge()).toBe(9)
  })

  test.each([
    ['list', { limit: 0 }, 'limit', '0'],
    ['list', { limit: 10_001 }, 'limit', '10001'],
    ['list', { limits: 1 }, 'limits', 'limits'],
    ['redrive', { limit: 1.5 }, 'limit', '1.5'],
    ['redrive', { ids: 'a' }, 'ids', '"a"'],
    ['redrive', { ids: [''] }, 'ids', '""'],
    ['redrive', { id: 'a' }, 'id', 'id'],
  ])('%s refuses %j by name and value', async (method, options, name, value) => {
    const error = await failureOf(() => callUntyped(new QueueOn().queue().deadLetters, method, [options]))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name } })
    expect(error).toHaveProperty('message', expect.stringContaining(value))
  })

  test('of a closed cluster object are CLOSED', async () => {
    const on = new QueueOn()
    const { deadLetters } = on.queue()
    await on.queues.close()
    for (const call of [() => deadLetters.list(), () => deadLetters.redrive(), () => deadLetters.purge()]) {
      expect(await failureOf(call)).toMatchObject({ code: 'CLOSED', outcome: 'not-sent' })
    }
  })

  test('settle in time when the backend is silent', async () => {
    const on = new QueueOn({ listDead: never })
    const listing = watch(on.queue().deadLetters.list())
    await on.clock.advance(5_250)
    expect(listing.value).toMatchObject({ code: 'TIMEOUT' })
    expect(on.clock.pendingTimers).toBe(0)
  })
})
