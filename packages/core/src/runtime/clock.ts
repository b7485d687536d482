/** Time as the library sees it. Replaced by a movable one in tests, see `@multinode/core/testing`. */
export interface Clock {
  /** Never goes back; on Linux it stands still while a virtual machine is suspended. */
  monotonicMs(): number
  /** May jump in both directions. */
  wallMs(): number
  /** Runs `callback` once after `delayMs`. `background` timers do not keep the process alive. */
  setTimer(callback: () => void, delayMs: number, kind: 'background' | 'foreground'): Timer
}

export interface Timer {
  cancel(): void
}

/** A moment on both clocks. */
export interface Instant {
  readonly monotonicMs: number
  readonly wallMs: number
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(callback, delayMs, kind) {
    const timeout = setTimeout(callback, delayMs)
    if (kind === 'background') timeout.unref()
    return { cancel: () => clearTimeout(timeout) }
  },
}

export function now(clock: Clock): Instant {
  return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() }
}

/**
 * How long ago `since` was, by whichever clock says longer: the monotonic one misses a suspended machine, the wall
 * clock can be set back. An error in this direction only ever ends a lease early.
 */
export function elapsedMs(clock: Clock, since: Instant): number {
  return Math.max(clock.monotonicMs() - since.monotonicMs, clock.wallMs() - since.wallMs)
}

/** Is over at once when the signal is aborted. */
export function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = clock.setTimer(end, ms, 'foreground')
    if (signal?.aborted === true) end()
    else signal?.addEventListener('abort', end)
  })
}
