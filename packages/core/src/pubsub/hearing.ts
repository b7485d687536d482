/** Why signals do not arrive: this node is no member yet, the driver says that it hears nothing, or others take it for dead. */
export type Hindrance = 'not-joined' | 'deaf' | 'isolated'

export type HearingListener = (isHearing: boolean) => void

/** Whether signals reach this node. */
export class Hearing {
  readonly #report: (error: unknown) => void
  readonly #listeners = new Set<HearingListener>()
  readonly #hindrances = new Set<Hindrance>(['not-joined'])

  constructor(report: (error: unknown) => void) {
    this.#report = report
  }

  get isHearing(): boolean {
    return this.#hindrances.size === 0
  }

  listen(listener: HearingListener): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  set(hindrance: Hindrance, isThere: boolean): void {
    const before = this.isHearing
    if (isThere) this.#hindrances.add(hindrance)
    else this.#hindrances.delete(hindrance)
    if (this.isHearing !== before) this.#tell()
  }

  #tell(): void {
    for (const listener of this.#listeners) {
      try {
        listener(this.isHearing)
      } catch (error) {
        this.#report(error)
      }
    }
  }
}
