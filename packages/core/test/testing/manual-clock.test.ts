import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../src/testing/index.ts'

describe('ManualClock', () => {
  test('stands still until it is moved', () => {
    const clock = new ManualClock(1_000)
    expect([clock.monotonicMs(), clock.wallMs()]).toEqual([0, 1_000])
  })

  test('fires timers in order, each at its own time, those set meanwhile too', async () => {
    const clock = new ManualClock()
    const fired: (readonly [string, number])[] = []
    const note = (name: string) => () => fired.push([name, clock.monotonicMs()])
    clock.setTimer(note('third'), 30)
    clock.setTimer(note('first'), 10)
    clock.setTimer(() => clock.setTimer(note('second'), 5), 10)
    clock.setTimer(note('never'), 31).cancel()
    clock.setTimer(note('not yet'), 41)
    await clock.advance(40)
    expect(fired).toEqual([
      ['first', 10],
      ['second', 15],
      ['third', 30],
    ])
    expect([clock.monotonicMs(), clock.pendingTimers]).toEqual([40, 1])
  })

  test('lets promises settle between two timers', async () => {
    const clock = new ManualClock()
    const order: string[] = []
    clock.setTimer(() => void Promise.resolve().then(() => order.push('then')), 1)
    clock.setTimer(() => order.push('timer'), 2)
    await clock.advance(2)
    expect(order).toEqual(['then', 'timer'])
  })

  test('freezing moves both clocks and fires nothing until the next advance', async () => {
    const clock = new ManualClock(0)
    let firedAtMs = -1
    clock.setTimer(() => {
      firedAtMs = clock.monotonicMs()
    }, 10)
    clock.freeze(1_000)
    expect([firedAtMs, clock.monotonicMs(), clock.wallMs()]).toEqual([-1, 1_000, 1_000])
    await clock.advance(0)
    expect([firedAtMs, clock.monotonicMs()]).toEqual([1_000, 1_000])
  })

  test('the wall clock can jump alone, in both directions', () => {
    const clock = new ManualClock(0)
    clock.jumpWallClock(5_000)
    clock.jumpWallClock(-6_000)
    expect([clock.monotonicMs(), clock.wallMs()]).toEqual([0, -1_000])
  })
})
