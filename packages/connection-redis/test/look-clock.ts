import { type Clock, type Timer } from '@multinode/core'
import { pluginContext } from '@multinode/core/testing'
import { measureEveryMs } from '../src/read-route.ts'

/** The time as it is, but connections look at their replicas again when the test says so. */
export class LookClock implements Clock {
  readonly #real = pluginContext().clock
  readonly #looks = new Set<() => void>()

  monotonicMs(): number {
    return this.#real.monotonicMs()
  }

  wallMs(): number {
    return this.#real.wallMs()
  }

  setTimer(callback: () => void, delayMs: number, kind: 'background' | 'foreground'): Timer {
    if (delayMs !== measureEveryMs) return this.#real.setTimer(callback, delayMs, kind)
    this.#looks.add(callback)
    return { cancel: () => this.#looks.delete(callback) }
  }

  look(): void {
    for (const callback of this.#looks) {
      this.#looks.delete(callback)
      callback()
    }
  }

  /** Whether all that were begun have ended. */
  get hasLooked(): boolean {
    return this.#looks.size > 0
  }
}
