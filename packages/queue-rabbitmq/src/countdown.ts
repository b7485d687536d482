import type { Clock } from '@multinode/core'

/** For the last round trip to fail by its own deadline. */
const leastMs = 1

/** What is left of the time of a call that takes several round trips: at least 1 ms. */
export function countdown(clock: Clock, timeoutMs: number): () => number {
  const untilMs = clock.monotonicMs() + timeoutMs
  return () => Math.max(leastMs, Math.floor(untilMs - clock.monotonicMs()))
}

/** Whether nothing more should be begun. */
export function isOver(leftMs: () => number): boolean {
  return leftMs() <= leastMs
}
