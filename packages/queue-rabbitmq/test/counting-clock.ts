import type { Clock, Timer } from '@multinode/core'
import { pluginContext } from '@multinode/core/testing'

/** Knows how many timers are set. */
export class CountingClock implements Clock {
  pending = 0
  readonly #clock: Clock = pluginContext().clock

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
