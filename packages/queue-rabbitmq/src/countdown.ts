import type { Clock } from '@multinode/core'

/** What is left of the time of a call that takes several round trips: at least 1 ms, for the last one to fail by its own deadline. */
export function countdown(clock: Clock, timeoutMs: number): () => number {
  const untilMs = clock.monotonicMs() + timeoutMs
  return () => Math.max(1, Math.floor(untilMs - clock.monotonicMs()))
}
