import { describe, expect, test } from 'vitest'
import { defaultBackoff, delayAfter, readBackoff } from '../../src/queue/backoff.ts'
import type { BackoffSettings } from '../../src/queue/queue-driver.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf } from '../support/outcome.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const steady: BackoffSettings = { type: 'exponential', delayMs: 100, maxDelayMs: 1_000, jitter: 0 }

describe('the delay after an attempt', () => {
  test('doubles each time, up to the longest', () => {
    expect([1, 2, 3, 4, 5, 6].map((attempt) => delayAfter(attempt, steady))).toEqual([
      100, 200, 400, 800, 1_000, 1_000,
    ])
  })

  test('stays as it is when fixed, but for the longest', () => {
    const fixed: BackoffSettings = { ...steady, type: 'fixed' }
    expect([1, 2, 900].map((attempt) => delayAfter(attempt, fixed))).toEqual([100, 100, 100])
    expect(delayAfter(1, { ...fixed, maxDelayMs: 30 })).toBe(30)
  })

  test('is a number after a million attempts, also when it begins at nothing', () => {
    expect(delayAfter(1_000_000, steady)).toBe(1_000)
    expect(delayAfter(1_000_000, { ...steady, delayMs: 0 })).toBe(0)
  })

  test.each([
    [0, 0, 1_000],
    [0, 1, 1_000],
    [0.25, 1, 750],
    [1, 1, 0],
    [1, 0, 1_000],
    [0.5, 0.5, 750],
  ])('with jitter %d and the random number %d is %d of 1,000', (jitter, random, delayMs) => {
    expect(delayAfter(5, { ...steady, jitter }, () => random)).toBe(delayMs)
  })

  test('is whole and within its bounds, whatever the settings', () => {
    const random = new SeededRandom(1)
    for (let round = 0; round < 5_000; round += 1) {
      const backoff: BackoffSettings = {
        type: random.chance(0.5) ? 'fixed' : 'exponential',
        delayMs: random.whole(0, 2 ** random.whole(0, 31) - 1),
        maxDelayMs: random.whole(0, 2 ** random.whole(0, 31) - 1),
        jitter: random.next(),
      }
      const attempt = random.whole(1, 2 ** random.whole(0, 20))
      const most = delayAfter(attempt, { ...backoff, jitter: 0 })
      const delayMs = delayAfter(attempt, backoff, random.next)
      const isWithin = delayMs >= Math.floor(most * (1 - backoff.jitter)) && delayMs <= most
      if (Number.isSafeInteger(delayMs) && isWithin && most <= backoff.maxDelayMs) continue
      expect.fail(`${delayMs} of ${most} after ${attempt} with ${JSON.stringify(backoff)}`)
    }
  })

  test('with full jitter spreads evenly', () => {
    const random = new SeededRandom(2)
    const tenths = Array<number>(10).fill(0)
    for (let round = 0; round < 10_000; round += 1) {
      const delayMs = delayAfter(9, { ...steady, jitter: 1 }, random.next)
      const tenth = Math.min(9, Math.floor(delayMs / 100))
      tenths[tenth] = (tenths[tenth] ?? 0) + 1
    }
    expect(Math.min(...tenths)).toBeGreaterThan(850)
    expect(Math.max(...tenths)).toBeLessThan(1_150)
  })
})

describe('the options of backoff', () => {
  test('have defaults', () => {
    expect(readBackoff({ type: 'fixed', delayMs: 5 })).toEqual({
      type: 'fixed',
      delayMs: 5,
      maxDelayMs: 3_600_000,
      jitter: 1,
    })
    expect(defaultBackoff).toEqual({ type: 'exponential', delayMs: 1_000, maxDelayMs: 3_600_000, jitter: 1 })
  })

  test.each([
    ['backoff.type', { type: 'linear', delayMs: 1 }, 'linear'],
    ['backoff.delayMs', { type: 'fixed' }, 'undefined'],
    ['backoff.delayMs', { type: 'fixed', delayMs: -1 }, '-1'],
    ['backoff.maxDelayMs', { type: 'fixed', delayMs: 1, maxDelayMs: 0.5 }, '0.5'],
    ['backoff.jitter', { type: 'fixed', delayMs: 1, jitter: 1.01 }, '1.01'],
    ['backoff.jitter', { type: 'fixed', delayMs: 1, jitter: Number.NaN }, 'NaN'],
    ['backoff.jitter', { type: 'fixed', delayMs: 1, jitter: true }, 'true'],
    ['delay', { type: 'fixed', delay: 1 }, 'delay'],
  ])('refuse %s by name and value: %j', async (name, options, value) => {
    const error = await failureOf(() => callUntyped({ readBackoff }, 'readBackoff', [options]))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name } })
    expect(error).toHaveProperty('message', expect.stringContaining(value))
  })
})
