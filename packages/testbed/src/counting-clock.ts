/** As the `Clock` of core, on which the testbed does not depend. */
interface Clock {
  monotonicMs(): number
  wallMs(): number
  setTimer(callback: () => void, delayMs: number, kind: 'background' | 'foreground'): Timer
}

interface Timer {
  cancel(): void
}

/** A clock that knows how many of its timers are set. */
export class CountingClock implements Clock {
  pending = 0
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs()
  }

  wallMs(): number {
    return this.#clock.wallMs()
  }

  setTimer(callback: () => void, delayMs: number, kind: 'background' | 'foreground'): Timer {
    let isPending = true
    const end = (): void => {
      if (isPending) this.pending -= 1
      isPending = false
    }
    this.pending += 1
    const timer = this.#clock.setTimer(
      () => {
        end()
        callback()
      },
      delayMs,
      kind,
    )
    return {
      cancel() {
        end()
        timer.cancel()
      },
    }
  }
}
