import { type Clock, MultinodeError, withDeadline } from '@multinode/core'
import is from '@sindresorhus/is'
import type { PasswordFunction } from './redis-settings.ts'

/** A password that is asked for anew before each attempt to connect. */
export class RotatingPassword {
  readonly #ask: PasswordFunction
  readonly #clock: Clock
  readonly #timeoutMs: number
  #current = ''
  #isUnused = false
  #underWay: Promise<void> | undefined

  constructor(ask: PasswordFunction, clock: Clock, timeoutMs: number) {
    this.#ask = ask
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  /** The one that was told last. */
  get current(): string {
    return this.#current
  }

  /** Asks for the first one, which the next attempt to connect takes. */
  async begin(): Promise<void> {
    await this.renew()
    this.#isUnused = true
  }

  /**
   * Those who ask at the same time share an answer.
   * @throws `UNAVAILABLE` when the function fails, does not answer in time, or gives no text; `current` is then the one before
   */
  async renew(): Promise<void> {
    const isKnown = this.#isUnused
    this.#isUnused = false
    if (isKnown) return
    this.#underWay ??= this.#renew().finally(() => (this.#underWay = undefined))
    await this.#underWay
  }

  async #renew(): Promise<void> {
    const asked = (async () => this.#ask())()
    try {
      const told: unknown = await withDeadline(this.#clock, this.#timeoutMs, asked, () => {
        return new Error(`no answer within ${this.#timeoutMs} ms`)
      })
      if (!is.nonEmptyString(told)) throw new Error(`it gave ${is(told)}, not a text`)
      this.#current = told
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new MultinodeError(
        'UNAVAILABLE',
        `The function that gives the password of Redis failed: ${reason}.`,
        {
          backend: 'redis',
          outcome: 'not-sent',
          cause,
        },
      )
    }
  }
}
