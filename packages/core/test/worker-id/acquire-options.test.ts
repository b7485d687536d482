import { describe, expect, test } from 'vitest'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf } from '../support/outcome.ts'
import { WorkerIdsOn } from './worker-ids-on.ts'

describe('the options of acquire', () => {
  const bad: readonly (readonly [string, unknown, string, string])[] = [
    ['range 0', { range: 0 }, 'range', 'range is 0; it must be a whole number from 1 to 4096.'],
    ['range 4,097', { range: 4_097 }, 'range', 'range is 4097'],
    ['range 1.5', { range: 1.5 }, 'range', 'range is 1.5'],
    ['range NaN', { range: Number.NaN }, 'range', 'range is NaN'],
    ['range as text', { range: '32' }, 'range', 'range is "32"'],
    ['prefer -1', { prefer: -1 }, 'prefer', 'prefer is -1; it must be a whole number from 0 to 31.'],
    [
      'prefer beyond the range',
      { range: 8, prefer: 8 },
      'prefer',
      'prefer is 8; it must be a whole number from 0 to 7.',
    ],
    ['prefer null', { prefer: null }, 'prefer', 'prefer is null'],
    ['an empty ownerKey', { ownerKey: '' }, 'ownerKey', 'ownerKey is ""'],
    ['an ownerKey of 1,025 characters', { ownerKey: 'x'.repeat(1_025) }, 'ownerKey', 'ownerKey is "xxx'],
    ['an ownerKey with a lone surrogate', { ownerKey: 'a\uD83D' }, 'ownerKey', 'ownerKey is "a'],
    ['an ownerKey that is no text', { ownerKey: 42 }, 'ownerKey', 'ownerKey is 42'],
    ['waitMs -1', { waitMs: -1 }, 'waitMs', 'waitMs is -1'],
    ['waitMs Infinity', { waitMs: Number.POSITIVE_INFINITY }, 'waitMs', 'waitMs is Infinity'],
    ['a signal that is none', { signal: {} }, 'signal', 'signal is of type Object'],
    [
      'isFirstStart as text',
      { isFirstStart: 'yes' },
      'isFirstStart',
      'isFirstStart is "yes"; it must be true or false.',
    ],
    ['leaseMs 99', { leaseMs: 99 }, 'leaseMs', 'leaseMs is 99'],
    ['leaseMs over an hour', { leaseMs: 3_600_001 }, 'leaseMs', 'leaseMs is 3600001'],
    ['quarantineMs -1', { quarantineMs: -1 }, 'quarantineMs', 'quarantineMs is -1'],
    ['quarantineMs over a day', { quarantineMs: 86_400_001 }, 'quarantineMs', 'quarantineMs is 86400001'],
    ['maxSkewMs 0', { maxSkewMs: 0 }, 'maxSkewMs', 'maxSkewMs is 0'],
    ['maxSkewMs over a minute', { maxSkewMs: 60_001 }, 'maxSkewMs', 'maxSkewMs is 60001'],
    ['maxAheadMs -1', { maxAheadMs: -1 }, 'maxAheadMs', 'maxAheadMs is -1'],
    ['maxAheadMs 0.5', { maxAheadMs: 0.5 }, 'maxAheadMs', 'maxAheadMs is 0.5'],
    ['a misspelt option', { lease: 1_000 }, 'lease', 'acquire has no option "lease"; it knows range,'],
    ['null for options', null, 'the options of acquire', 'the options of acquire is null'],
  ]

  test.each(bad)(
    '%s is refused by name and value, and nobody is asked',
    async (_, options, name, message) => {
      const on = new WorkerIdsOn()
      const error = await failureOf(() => callUntyped(on.workerIds, 'acquire', [options]))
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', retryable: false, details: { name } })
      expect(error).toHaveProperty('message', expect.stringContaining(message))
      expect(on.calls).toEqual([])
    },
  )

  test('have the defaults that are documented', async () => {
    const on = new WorkerIdsOn()
    await on.workerIds.acquire()
    expect(on.requests('acquire')).toMatchObject([
      {
        range: 32,
        isFirstStart: false,
        nowMs: on.clock.wallMs(),
        terms: { leaseMs: 15_000, quarantineMs: 15_000, maxSkewMs: 5_000, maxAheadMs: 5_000 },
      },
    ])
  })

  test('may have the smallest and the largest values', async () => {
    const on = new WorkerIdsOn()
    const smallest = { leaseMs: 100, quarantineMs: 0, maxSkewMs: 1, maxAheadMs: 0 }
    const largest = { leaseMs: 3_600_000, quarantineMs: 86_400_000, maxSkewMs: 60_000, maxAheadMs: 3_600_000 }
    await on.workerIds.acquire({ range: 1, prefer: 0, waitMs: 0, ownerKey: 'x', ...smallest })
    await on.workerIds.acquire({
      range: 4_096,
      prefer: 4_095,
      waitMs: 2_147_483_647,
      ownerKey: 'y',
      ...largest,
    })
    expect(on.requests('acquire')).toMatchObject([{ terms: smallest }, { prefer: 4_095, terms: largest }])
  })

  test('without an ownerKey, all nodes of a process that nobody named share one, so that a reload gets its id back', async () => {
    const on = new WorkerIdsOn()
    await on.workerIds.acquire()
    await on.node().acquire()
    const [one, two] = on.table.holders()
    expect(one?.ownerKey).toMatch(/^process-[0-9a-f]{16}$/)
    expect(two?.ownerKey).toBe(one?.ownerKey)
  })

  test('without prefer, take the hint of the environment; with prefer, that', async () => {
    const on = new WorkerIdsOn()
    on.env['WORKER_ID'] = '37'
    const ids = [await on.workerIds.acquire(), await on.workerIds.acquire({ prefer: 9 })].map(({ id }) => id)
    expect(ids).toEqual([5, 9])
  })

  test('a WORKER_ID that is no number is refused', async () => {
    const on = new WorkerIdsOn()
    on.env['WORKER_ID'] = 'web-1'
    await expect(on.workerIds.acquire()).rejects.toMatchObject({ code: 'MISCONFIGURED' })
    expect(on.calls).toEqual([])
  })
})
