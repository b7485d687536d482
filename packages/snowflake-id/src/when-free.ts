import { SnowflakeError } from './snowflake-error.ts'

/** Repeats `generate` while it is `EXHAUSTED`, for `waitMs` at most. */
export async function whenFree<Id>(
  generate: () => Id,
  waitMs: number,
  signal: AbortSignal | undefined,
): Promise<Id> {
  const untilMs = performance.now() + waitMs
  for (;;) {
    if (signal?.aborted) throw aborted(signal)
    try {
      return generate()
    } catch (error) {
      const leftMs = untilMs - performance.now()
      if (!(error instanceof SnowflakeError) || error.code !== 'EXHAUSTED' || leftMs <= 0) throw error
      await pause(Math.min(Number(error.details['retryAfterMs']), leftMs), signal)
    }
  }
}

/** Ends early when aborted. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal?.addEventListener('abort', end)
  })
}

function aborted(signal: AbortSignal): SnowflakeError {
  return new SnowflakeError('ABORTED', 'Waiting for an id was aborted.', {}, { cause: signal.reason })
}
