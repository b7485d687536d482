import type { Clock } from './clock.ts'

/**
 * Settles as `work` does, or rejects with `onTimeout()` after `timeoutMs`. What `work` does later is ignored, so
 * its own effects must be harmless or undone by the caller.
 */
export function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  work: Promise<T>,
  onTimeout: () => Error,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.setTimer(() => reject(onTimeout()), timeoutMs, 'foreground')
    // A driver in plain JavaScript may return without a promise.
    Promise.resolve(work).then(
      (value) => {
        timer.cancel()
        resolve(value)
      },
      (error: unknown) => {
        timer.cancel()
        reject(error)
      },
    )
  })
}
