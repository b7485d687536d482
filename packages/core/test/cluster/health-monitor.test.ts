import { describe, expect, test } from 'vitest'
import { HealthMonitor } from '../../src/cluster/health-monitor.ts'
import { MultinodeError } from '../../src/index.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { ManualClock } from '../../src/testing/index.ts'
import { Later, never } from '../support/outcome.ts'
import { SteeredLock } from '../support/steered-lock.ts'

const startMs = Date.UTC(2026, 0, 1)

/** A monitor of a driver whose pings the test answers. */
function setUp(ping: () => Promise<void>): {
  clock: ManualClock
  monitor: HealthMonitor
  lock: SteeredLock
  concerns: string[]
  pings: number[]
} {
  const clock = new ManualClock(startMs)
  const pings: number[] = []
  const lock = new SteeredLock(clock, { ping })
  const concerns: string[] = []
  const driver = {
    ...lock.driver,
    concerns,
    ping: (timeoutMs: number): Promise<void> => {
      pings.push(clock.monotonicMs())
      return lock.driver.ping(timeoutMs)
    },
  }
  return { clock, lock, concerns, pings, monitor: new HealthMonitor('lock', driver, ['a note'], clock) }
}

const answers = async (): Promise<void> => {}
const refuses = (): Promise<never> => Promise.reject(new MultinodeError('UNAVAILABLE', 'gone'))

describe('HealthMonitor', () => {
  test('is ok from the start, and knows no round trip before the first answer', () => {
    const { monitor } = setUp(never)
    monitor.start()
    expect(monitor.snapshot()).toEqual({
      status: 'ok',
      since: new Date(startMs),
      roundTripMs: undefined,
      lastError: undefined,
      notes: ['a note'],
    })
    monitor.stop()
  })

  test('probes at once, every 5 s while it answers, and every second while it is down', async () => {
    const { clock, monitor, lock, pings } = setUp(answers)
    monitor.start()
    await clock.advance(10_000)
    expect(pings).toEqual([0, 5_000, 10_000])
    lock.answers.ping = refuses
    await clock.advance(7_500)
    expect(pings.slice(3)).toEqual([15_000, 16_000, 17_000])
    lock.answers.ping = answers
    await clock.advance(10_000)
    expect(pings.slice(6)).toEqual([18_000, 23_000])
    monitor.stop()
  })

  test('goes down and comes back, says since when, and keeps the last error', async () => {
    const { clock, monitor, lock } = setUp(answers)
    monitor.start()
    await clock.advance(5_000)
    expect(monitor.snapshot()).toMatchObject({ status: 'ok', since: new Date(startMs), roundTripMs: 0 })
    lock.answers.ping = refuses
    await clock.advance(7_000)
    expect(monitor.snapshot()).toMatchObject({
      status: 'down',
      since: new Date(startMs + 10_000),
      lastError: 'gone',
    })
    lock.answers.ping = answers
    await clock.advance(1_000)
    expect(monitor.snapshot()).toMatchObject({
      status: 'ok',
      since: new Date(startMs + 13_000),
      lastError: 'gone',
    })
    monitor.stop()
  })

  test('is degraded while an answer takes longer than a second', async () => {
    const answer = new Later<void>()
    const { clock, monitor, lock } = setUp(() => answer.promise)
    monitor.start()
    await clock.advance(1_500)
    answer.resolve()
    await clock.advance(0)
    expect(monitor.snapshot()).toMatchObject({ status: 'degraded', roundTripMs: 1_500 })
    lock.answers.ping = answers
    await clock.advance(5_000)
    expect(monitor.snapshot()).toMatchObject({ status: 'ok', roundTripMs: 0 })
    monitor.stop()
  })

  test('is degraded while the driver has concerns, which are among its notes', async () => {
    const { clock, monitor, concerns } = setUp(answers)
    concerns.push('it forgets: set appendonly yes')
    monitor.start()
    await clock.advance(0)
    expect(monitor.snapshot()).toMatchObject({
      status: 'degraded',
      notes: expect.arrayContaining(['it forgets: set appendonly yes']),
    })
    concerns.length = 0
    await clock.advance(5_000)
    expect(monitor.snapshot()).toMatchObject({ status: 'ok' })
    monitor.stop()
  })

  test('is down when a ping is never answered, and does not let probes pile up', async () => {
    const { clock, monitor, pings } = setUp(never)
    monitor.start()
    await clock.advance(2_099)
    expect(monitor.snapshot().status).toBe('ok')
    await clock.advance(1)
    expect(monitor.snapshot()).toMatchObject({
      status: 'down',
      lastError: 'no answer to a ping within 2000 ms',
    })
    await clock.advance(3_100)
    expect(pings).toEqual([0, 3_100])
    expect(clock.pendingTimers).toBe(1)
    monitor.stop()
  })

  test('is down when ping throws, and its error shows no password', async () => {
    const { clock, monitor } = setUp(() => {
      throw new Error('connect redis://:hunter2@db')
    })
    monitor.start()
    await clock.advance(0)
    expect(monitor.snapshot()).toMatchObject({ status: 'down', lastError: 'connect redis://:***@db' })
    monitor.stop()
  })

  test('is not fooled by a wall clock that is set during a probe', async () => {
    const answer = new Later<void>()
    const { clock, monitor } = setUp(() => answer.promise)
    monitor.start()
    clock.jumpWallClock(3_600_000)
    answer.resolve()
    await clock.advance(0)
    expect(monitor.snapshot()).toMatchObject({ status: 'ok', roundTripMs: 0 })
    monitor.stop()
  })

  test('stops for good, between two probes and during one, and leaves no timer', async () => {
    const idle = setUp(answers)
    idle.monitor.start()
    await idle.clock.advance(1_000)
    idle.monitor.stop()
    expect(idle.clock.pendingTimers).toBe(0)
    await idle.clock.advance(60_000)
    expect(idle.pings).toEqual([0])

    const busy = setUp(never)
    busy.monitor.start()
    busy.monitor.stop()
    expect(busy.clock.pendingTimers).toBe(0)
  })

  test('an answer after the stop changes nothing and starts nothing', async () => {
    const answer = new Later<void>()
    const { clock, monitor, pings } = setUp(() => answer.promise)
    monitor.start()
    monitor.stop()
    answer.reject(new Error('closed'))
    await clock.advance(60_000)
    expect(monitor.snapshot()).toMatchObject({ status: 'ok', lastError: undefined })
    expect(pings).toEqual([0])
    expect(clock.pendingTimers).toBe(0)
  })

  test('does not keep the process alive', () => {
    const { lock } = setUp(never)
    const active = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = active()
    const real = new HealthMonitor('lock', lock.driver, [], systemClock)
    real.start()
    expect(active()).toBe(before)
    real.stop()
  })
})
