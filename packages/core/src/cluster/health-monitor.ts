import type { CapabilityName } from '../registry/capability-name.ts'
import type { Driver } from '../registry/driver.ts'
import type { Clock, Timer } from '../runtime/clock.ts'
import { reasonOf } from '../errors/to-driver-error.ts'
import { MultinodeError } from '../errors/multinode-error.ts'

export interface CapabilityHealth {
  /** `degraded`: it answers, but slower than a second, or something is wrong with it: see `notes`. */
  readonly status: 'ok' | 'degraded' | 'down'
  /** When the status last changed. */
  readonly since: Date
  /** Of the last probe that was answered. */
  readonly roundTripMs: number | undefined
  /** Of the last probe that failed, also after recovery. */
  readonly lastError: string | undefined
  /** What an operator should know about how this capability is set up. */
  readonly notes: readonly string[]
}

const probeEveryMs = 5_000
/** Sooner while down, so that recovery is seen soon. */
const probeEveryWhileDownMs = 1_000
const probeTimeoutMs = 2_000
const slowMs = 1_000

/** Pings a driver every few seconds and remembers the result, so that `health()` can answer without waiting. */
export class HealthMonitor {
  readonly #capability: CapabilityName
  readonly #driver: Driver
  readonly #notes: readonly string[]
  readonly #clock: Clock
  #status: CapabilityHealth['status'] = 'ok'
  #since: Date
  #roundTripMs: number | undefined
  #lastError: string | undefined
  #timer: Timer | undefined
  #stopped = false

  constructor(capability: CapabilityName, driver: Driver, notes: readonly string[], clock: Clock) {
    this.#capability = capability
    this.#driver = driver
    this.#notes = notes
    this.#clock = clock
    this.#since = new Date(clock.wallMs())
  }

  /** The first probe leaves at once. */
  start(): void {
    void this.#probe()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  snapshot(): CapabilityHealth {
    return {
      status: this.#status,
      since: this.#since,
      roundTripMs: this.#roundTripMs,
      lastError: this.#lastError,
      notes: [...this.#notes, ...this.#concerns],
    }
  }

  /** Never rejects: a failure is its result. */
  async #probe(): Promise<void> {
    const startedAtMs = this.#clock.monotonicMs()
    try {
      await this.#ping()
      if (this.#stopped) return
      this.#roundTripMs = this.#clock.monotonicMs() - startedAtMs
      const isFine = this.#roundTripMs <= slowMs && this.#concerns.length === 0
      this.#become(isFine ? 'ok' : 'degraded')
    } catch (error) {
      if (this.#stopped) return
      this.#lastError = reasonOf(error)
      this.#become('down')
    }
    this.#timer?.cancel()
    const delayMs = this.#status === 'down' ? probeEveryWhileDownMs : probeEveryMs
    this.#timer = this.#clock.setTimer(() => void this.#probe(), delayMs, 'background')
  }

  get #concerns(): readonly string[] {
    return this.#driver.concerns ?? []
  }

  /** With a deadline of its own that, unlike that of a call, neither keeps the process alive nor outlives {@link stop}. */
  async #ping(): Promise<void> {
    const answered = this.#driver.ping(probeTimeoutMs)
    await new Promise<void>((resolve, reject) => {
      const giveUp = (): void => {
        const message = `no answer to a ping within ${probeTimeoutMs} ms`
        reject(new MultinodeError('TIMEOUT', message, { capability: this.#capability }))
      }
      this.#timer = this.#clock.setTimer(giveUp, probeTimeoutMs * 1.05, 'background')
      Promise.resolve(answered).then(resolve, reject)
    })
  }

  #become(status: CapabilityHealth['status']): void {
    if (status === this.#status) return
    this.#status = status
    this.#since = new Date(this.#clock.wallMs())
  }
}
