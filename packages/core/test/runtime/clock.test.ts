import { describe, expect, test } from 'vitest'
import { elapsedMs, now, pause, systemClock } from '../../src/runtime/clock.ts'
import { ManualClock } from '../../src/testing/index.ts'

describe('elapsedMs', () => {
  test('is what both clocks say when they agree', async () => {
    const clock = new ManualClock()
    const start = now(clock)
    await clock.advance(1_500)
    expect(elapsedMs(clock, start)).toBe(1_500)
  })

  test('believes the wall clock when it says more, as after a suspended machine', () => {
    const clock = new ManualClock()
    const start = now(clock)
    clock.jumpWallClock(3_600_000)
    expect(elapsedMs(clock, start)).toBe(3_600_000)
  })

  test('believes the monotonic clock when the wall clock was set back', () => {
    const clock = new ManualClock()
    const start = now(clock)
    clock.freeze(100)
    clock.jumpWallClock(-3_600_000)
    expect(elapsedMs(clock, start)).toBe(100)
  })
})

describe('pause', () => {
  test('is over after its time', async () => {
    const clock = new ManualClock()
    let isOver = false
    const paused = pause(clock, 1_000).then(() => (isOver = true))
    await clock.advance(999)
    expect(isOver).toBe(false)
    await clock.advance(1)
    await paused
  })

  test('is over at once when it is aborted, now or before, and leaves no timer', async () => {
    const clock = new ManualClock()
    const ending = new AbortController()
    const paused = pause(clock, 1_000, ending.signal)
    ending.abort()
    await paused
    await pause(clock, 1_000, ending.signal)
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('systemClock', () => {
  test('has a monotonic time that does not go back and a wall time that is that of the machine', () => {
    const [one, two] = [systemClock.monotonicMs(), systemClock.monotonicMs()]
    expect(two).toBeGreaterThanOrEqual(one)
    expect(Math.abs(systemClock.wallMs() - Date.now())).toBeLessThan(1_000)
  })

  test('runs a timer once, unless it is cancelled', async () => {
    const fired: string[] = []
    await new Promise<void>((resolve) => {
      systemClock.setTimer(() => fired.push('cancelled'), 1, 'foreground').cancel()
      systemClock.setTimer(() => fired.push('background'), 1, 'background')
      systemClock.setTimer(resolve, 2, 'foreground')
    })
    expect(fired).toEqual(['background'])
  })

  test('only foreground timers keep the process alive', () => {
    const active = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = active()
    const background = systemClock.setTimer(() => {}, 60_000, 'background')
    expect(active()).toBe(before)
    const foreground = systemClock.setTimer(() => {}, 60_000, 'foreground')
    expect(active()).toBe(before + 1)
    background.cancel()
    foreground.cancel()
    expect(active()).toBe(before)
  })
})
