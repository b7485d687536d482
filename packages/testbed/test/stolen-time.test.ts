import { describe, expect, it } from 'vitest'
import { stolenMs } from '../src/index.ts'
import { sinceBootMs } from '../src/stolen-time.ts'
import { standStill } from './stand-still.ts'

describe('the time that the host took', () => {
  it('is the eighth number of all processors, in ticks of 10 ms', () => {
    const stat = 'cpu  6267481 0 1192633 5934659 19541 0 119977 301487 0 0\ncpu0 1 0 1 1 1 0 1 7 0 0\n'
    expect(sinceBootMs(stat)).toBe(3_014_870)
  })

  it('is 0 where nothing tells', () => {
    expect(sinceBootMs('')).toBe(0)
  })

  it('counts from the begin of a test', () => {
    // Since the boot of the machine it is minutes.
    expect(stolenMs()).toBeGreaterThanOrEqual(0)
    expect(stolenMs()).toBeLessThan(10_000)
  })

  it('is also what this process did not come to its turn, at the most', () => {
    standStill(500)
    standStill(100)
    expect(stolenMs()).toBeGreaterThan(480)
  })
})
