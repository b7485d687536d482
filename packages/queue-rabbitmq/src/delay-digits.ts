/** Delays are counted in these, and rounded up. */
export const tickMs = 100
/** 310 days; what is longer goes round again. */
export const levelCount = 28

const mostTicks = 2 ** levelCount - 1

/** One trip through the delay line. */
export interface Trip {
  /** Where it enters: the longest wait that it needs. */
  readonly level: number
  /** Which waits it needs, one binary digit for each level, the longest first. */
  readonly digits: string
  /** What is left of the delay when it comes out. */
  readonly restMs: number
}

/** @param delayMs more than 0 */
export function tripOf(delayMs: number): Trip {
  const ticks = Math.min(mostTicks, Math.ceil(delayMs / tickMs))
  const digits = ticks.toString(2)
  return {
    level: digits.length - 1,
    digits: digits.padStart(levelCount, '0').split('').join('.'),
    restMs: Math.max(0, delayMs - ticks * tickMs),
  }
}

/** Which routing keys wait at a level: those with a 1 there, whatever came before. */
export function waitPattern(level: number): string {
  return `${'*.'.repeat(levelCount - 1 - level)}1.#`
}

export function passPattern(level: number): string {
  return `${'*.'.repeat(levelCount - 1 - level)}0.#`
}

/** All digits, and then the whole key: with `#.key` a queue would get what is for others whose names end alike. */
export function dueKeyPattern(key: string): string {
  return `${'*.'.repeat(levelCount)}${key}`
}

export function routingKeyOf({ digits }: Trip, key: string): string {
  return `${digits}.${key}`
}

/** Whose job it is, by its routing key. */
export function isFor(routingKey: string, keys: ReadonlySet<string>): boolean {
  return keys.has(routingKey.slice(2 * levelCount))
}
