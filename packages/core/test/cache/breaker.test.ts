import { describe, expect, test } from 'vitest'
import { Breaker } from '../../src/cache/breaker.ts'
import { MultinodeError } from '../../src/index.ts'
import { ManualClock } from '../../src/testing/index.ts'
import { Later, turn } from '../support/outcome.ts'

const failure = new MultinodeError('UNAVAILABLE', 'away')

function setup(probe: () => Promise<void> = () => Promise.reject(failure)) {
  const clock = new ManualClock()
  const seen = { probesAtMs: [] as number[], closed: 0 }
  const parts = { probe }
  const breaker = new Breaker({
    clock,
    probe: () => {
      seen.probesAtMs.push(clock.monotonicMs())
      return parts.probe()
    },
    onClosed: () => {
      seen.closed += 1
    },
  })
  return { clock, seen, parts, breaker }
}

function fail(breaker: Breaker, times: number): void {
  for (let count = 0; count < times; count += 1) breaker.failed(failure)
}

describe('the breaker', () => {
  test('opens with the fifth failure in a row, and says why', () => {
    const { breaker } = setup()
    fail(breaker, 4)
    expect(breaker.isOpen).toBe(false)
    fail(breaker, 1)
    expect(breaker).toMatchObject({ isOpen: true, opened: 1, lastFailure: failure })
    breaker.end()
  })

  test('stays closed when a call succeeds between them', () => {
    const { breaker, clock } = setup()
    for (let round = 0; round < 10; round += 1) {
      fail(breaker, 4)
      breaker.succeeded()
    }
    expect(breaker).toMatchObject({ isOpen: false, opened: 0 })
    expect(clock.pendingTimers).toBe(0)
  })

  test('asks after two seconds, and then twice a second, until the backend answers', async () => {
    const { breaker, clock, seen, parts } = setup()
    fail(breaker, 5)
    await clock.advance(3_100)
    expect(seen.probesAtMs).toEqual([2_000, 2_500, 3_000])
    expect(breaker.isOpen).toBe(true)
    parts.probe = async () => {}
    await clock.advance(400)
    expect(breaker.isOpen).toBe(false)
    expect(seen).toEqual({ probesAtMs: [2_000, 2_500, 3_000, 3_500], closed: 1 })
    expect(clock.pendingTimers).toBe(0)
  })

  test('is not closed by an answer that comes late, nor opened anew by further failures', async () => {
    const { breaker, clock, seen } = setup()
    fail(breaker, 5)
    breaker.succeeded()
    fail(breaker, 10)
    expect(breaker).toMatchObject({ isOpen: true, opened: 1 })
    expect(clock.pendingTimers).toBe(1)
    await clock.advance(2_000)
    expect(seen.probesAtMs).toEqual([2_000])
    breaker.end()
  })

  test('opens with the first failure after a probe, as the backend may answer probes only', async () => {
    const { breaker, clock } = setup(async () => {})
    fail(breaker, 5)
    await clock.advance(2_000)
    expect(breaker.isOpen).toBe(false)
    fail(breaker, 1)
    expect(breaker).toMatchObject({ isOpen: true, opened: 2 })
    await clock.advance(500)
    expect(breaker.isOpen).toBe(false)
    breaker.succeeded()
    fail(breaker, 4)
    expect(breaker.isOpen).toBe(false)
  })

  test('asks at once when told to, one at a time', async () => {
    const answer = new Later<void>()
    const { breaker, clock, seen } = setup(() => answer.promise)
    await breaker.probeNow()
    expect(seen.probesAtMs).toEqual([])
    fail(breaker, 5)
    const probes = [breaker.probeNow(), breaker.probeNow()]
    answer.resolve()
    await Promise.all(probes)
    expect(seen).toEqual({ probesAtMs: [0], closed: 1 })
    expect(clock.pendingTimers).toBe(0)
  })

  test('asks no more after its end, and tells nobody of an answer that comes then', async () => {
    const answer = new Later<void>()
    const { breaker, clock, seen } = setup(() => answer.promise)
    fail(breaker, 5)
    await clock.advance(2_000)
    breaker.end()
    answer.resolve()
    await turn()
    expect(seen.closed).toBe(0)
    expect(clock.pendingTimers).toBe(0)
    const other = setup()
    fail(other.breaker, 5)
    other.breaker.end()
    await other.breaker.probeNow()
    expect(other.seen.probesAtMs).toEqual([])
    expect(other.clock.pendingTimers).toBe(0)
  })
})
