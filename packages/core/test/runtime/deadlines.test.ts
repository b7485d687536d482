import { ManualClock } from '../../src/testing/index.ts'
import { beforeEach, describe, expect, it } from 'vitest'
import { Deadlines } from '../../src/runtime/deadlines.ts'

let clock = new ManualClock()
let deadlines = new Deadlines(clock)
let expired: string[] = []
beforeEach(() => {
  clock = new ManualClock()
  deadlines = new Deadlines(clock)
  expired = []
})

function begin(name: string, timeoutMs = 100): { isOver: boolean } {
  return deadlines.begin(timeoutMs, () => expired.push(`${name} at ${clock.monotonicMs()}`))
}

describe('deadlines', () => {
  it('expire each at its own time, however many are under way', async () => {
    begin('a')
    await clock.advance(30)
    begin('b')
    await clock.advance(69)
    expect(expired).toEqual([])
    await clock.advance(1)
    expect(expired).toEqual(['a at 100'])
    await clock.advance(30)
    expect(expired).toEqual(['a at 100', 'b at 130'])
  })

  it('of different lengths do not wait for each other', async () => {
    begin('long', 1_000)
    begin('short', 10)
    await clock.advance(10)
    expect(expired).toEqual(['short at 10'])
    await clock.advance(990)
    expect(expired).toEqual(['short at 10', 'long at 1000'])
  })

  it('of calls that are over never expire, whatever their order', async () => {
    const calls = ['a', 'b', 'c'].map((name) => begin(name))
    for (const index of [1, 0]) Object.assign(calls[index] ?? {}, { isOver: true })
    await clock.advance(1_000)
    expect(expired).toEqual(['c at 100'])
  })

  it('go on after all were over, and mark what has expired', async () => {
    begin('a').isOver = true
    await clock.advance(1_000)
    const late = begin('b')
    await clock.advance(100)
    expect(expired).toEqual(['b at 1100'])
    expect(late.isOver).toBe(true)
  })

  it('use one timer for all calls of one length, and none when nothing is under way', async () => {
    for (let index = 0; index < 1_000; index += 1) begin(`call ${index}`).isOver = true
    begin('last')
    expect(clock.pendingTimers).toBe(1)
    await clock.advance(1_000)
    expect(expired).toHaveLength(1)
    expect(clock.pendingTimers).toBe(0)
  })
})
