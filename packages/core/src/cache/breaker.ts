import { type MultinodeError } from '../errors/multinode-error.ts'
import type { Clock, Timer } from '../runtime/clock.ts'

export interface BreakerParts {
  readonly clock: Clock
  /** One cheap round trip, which rejects when the backend cannot serve. Must settle. */
  readonly probe: () => Promise<void>
  /** It is closed again. */
  readonly onClosed: () => void
}

const failuresToOpen = 5
const openMs = 2_000
/** After a probe that failed: being refused costs next to nothing, and who waits for the backend should not wait longer than it is away. */
const betweenProbesMs = 500

/**
 * Keeps callers from waiting for a backend that does not answer: after five failures in a row it is open, for two seconds, and from then on until a probe
 * succeeds. The probes run in the background, so that no caller pays for them with its own time.
 */
export class Breaker {
  readonly #parts: BreakerParts
  #failures = 0
  #opened = 0
  #lastFailure: MultinodeError | undefined
  #isOpen = false
  /** From a probe that succeeded until the first call that does. */
  #isOnTrial = false
  #isEnded = false
  #timer: Timer | undefined
  #probing: Promise<void> | undefined

  constructor(parts: BreakerParts) {
    this.#parts = parts
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** How often it was opened. */
  get opened(): number {
    return this.#opened
  }

  /** Why it is open. */
  get lastFailure(): MultinodeError | undefined {
    return this.#lastFailure
  }

  /** An answer came. While it is open that may be an old one: only a probe closes it. */
  succeeded(): void {
    if (this.#isOpen) return
    this.#failures = 0
    this.#isOnTrial = false
  }

  /** No answer came, or the backend is away. */
  failed(error: MultinodeError): void {
    this.#lastFailure = error
    this.#failures += 1
    if (this.#isOpen || this.#isEnded || this.#failures < failuresToOpen) return
    this.#isOpen = true
    this.#opened += 1
    this.#probeAfter(this.#isOnTrial ? betweenProbesMs : openMs)
  }

  /** Asks now if it is open, without waiting for its time. Never rejects. */
  async probeNow(): Promise<void> {
    if (!this.#isOpen || this.#isEnded) return
    this.#timer?.cancel()
    await this.#probe()
  }

  /** No probe begins after this. */
  end(): void {
    this.#isEnded = true
    this.#timer?.cancel()
  }

  #probeAfter(delayMs: number): void {
    this.#timer = this.#parts.clock.setTimer(() => void this.#probe(), delayMs, 'background')
  }

  #probe(): Promise<void> {
    this.#probing ??= this.#ask().finally(() => {
      this.#probing = undefined
    })
    return this.#probing
  }

  async #ask(): Promise<void> {
    try {
      await this.#parts.probe()
    } catch {
      // Why it is open is known already.
      if (!this.#isEnded) this.#probeAfter(betweenProbesMs)
      return
    }
    this.#isOpen = false
    // A backend that answers probes and nothing else is found out by the first call.
    this.#failures = failuresToOpen - 1
    this.#isOnTrial = true
    if (!this.#isEnded) this.#parts.onClosed()
  }
}
