import type { NewJob } from '@multinode/core'

/** As core gives it to a driver: for tests where core must not try again by itself. */
export function newJob(delayMs = 0): NewJob {
  return {
    record: {
      id: crypto.randomUUID(),
      payload: '1',
      headers: {},
      addedAtMs: Date.now(),
      attemptsMax: 1,
      backoff: { type: 'fixed', delayMs: 0, maxDelayMs: 0, jitter: 0 },
      timeoutMs: undefined,
      expiresAtMs: undefined,
    },
    delayMs,
    priority: 'normal',
    dedupe: undefined,
  }
}
