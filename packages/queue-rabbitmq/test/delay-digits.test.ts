import { describe, expect, it } from 'vitest'
import {
  dueKeyPattern,
  isFor,
  levelCount,
  passPattern,
  routingKeyOf,
  tripOf,
  waitPattern,
} from '../src/delay-digits.ts'

/** As a topic exchange does: `*` is one word, `#` none or more, at the end. */
function matches(pattern: string, routingKey: string): boolean {
  const words = routingKey.split('.')
  const wanted = pattern.split('.')
  const isOpen = wanted.at(-1) === '#'
  if (isOpen) wanted.pop()
  if (isOpen ? words.length < wanted.length : words.length !== wanted.length) return false
  return wanted.every((each, index) => each === '*' || each === words[index])
}

/** How long a job takes from its entry to its queue. */
function journeyMs(delayMs: number): number {
  const trip = tripOf(delayMs)
  const key = routingKeyOf(trip, 'jobs')
  let sumMs = 0
  for (let level = trip.level; level >= 0; level -= 1) {
    const [waits, passes] = [matches(waitPattern(level), key), matches(passPattern(level), key)]
    expect(waits).toBe(!passes)
    if (waits) sumMs += 100 * 2 ** level
  }
  expect(matches(dueKeyPattern('jobs'), key)).toBe(true)
  return sumMs + trip.restMs
}

describe('the way through the delay line', () => {
  it('takes as long as the delay, rounded up to a tenth of a second', () => {
    for (const delayMs of [1, 99, 100, 101, 1_000, 12_345, 86_400_000]) {
      expect(journeyMs(delayMs)).toBe(Math.ceil(delayMs / 100) * 100)
    }
  })

  it('begins with the longest wait, so that it waits there', () => {
    for (let level = 0; level < levelCount; level += 1) {
      const trip = tripOf(100 * 2 ** level)
      expect(trip.level).toBe(level)
      expect(matches(waitPattern(level), routingKeyOf(trip, 'jobs'))).toBe(true)
    }
  })

  it('is gone again by a delay that is longer than all waits together', () => {
    const longestMs = 100 * (2 ** levelCount - 1)
    expect(tripOf(longestMs)).toMatchObject({ level: levelCount - 1, restMs: 0 })
    expect(tripOf(longestMs + 1)).toMatchObject({ level: levelCount - 1, restMs: 1 })
    expect(journeyMs(31_557_600_000_000)).toBe(31_557_600_000_000)
  })

  it('ends at one queue only', () => {
    const key = routingKeyOf(tripOf(1_000), 'b')
    for (const other of ['a', 'a%2Eb', 'x%2Ea%2Eb', 'b+high']) {
      expect(matches(dueKeyPattern(other), key)).toBe(false)
      expect(isFor(key, new Set([other]))).toBe(false)
    }
    expect(isFor(key, new Set(['b']))).toBe(true)
    expect(Buffer.byteLength(routingKeyOf(tripOf(1_000), 'k'.repeat(125)))).toBeLessThanOrEqual(255)
  })
})
