import { randomInt } from 'node:crypto'

/** Random numbers that can be had again. */
export interface SeededRandom {
  readonly seed: number
  /** From 0 up to, not including, 1. */
  next(): number
  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number
}

/**
 * The seed is `MULTINODE_CHAOS_SEED`, or a new one each time: tests name it when they fail. Not for secrets: splitmix32.
 */
export function seededRandom(
  seed: number = Number(process.env['MULTINODE_CHAOS_SEED'] ?? randomInt(2 ** 32)),
): SeededRandom {
  let state = seed
  const next = (): number => {
    state = (state + 0x9e3779b9) | 0
    let mixed = state ^ (state >>> 16)
    mixed = Math.imul(mixed, 0x21f0aaad)
    mixed ^= mixed >>> 15
    mixed = Math.imul(mixed, 0x735a2d97)
    mixed ^= mixed >>> 15
    return (mixed >>> 0) / 2 ** 32
  }
  return { seed, next, between: (min, max) => min + Math.floor(next() * (max - min + 1)) }
}
