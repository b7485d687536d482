interface Entry {
  readonly dueMs: number
  readonly action: () => void
}

/** Runs actions in the order they came, each not before its delay is over; without a delay, at once. */
export class DelayLine {
  readonly #entries: Entry[] = []
  #timer: NodeJS.Timeout | undefined

  add(delayMs: number, action: () => void): void {
    if (delayMs === 0 && this.#entries.length === 0) return action()
    this.#entries.push({ dueMs: performance.now() + delayMs, action })
    this.#timer ??= this.#wait()
  }

  /** Forgets what is still waiting. */
  clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#entries.length = 0
  }

  #wait(): NodeJS.Timeout | undefined {
    const next = this.#entries[0]
    if (!next) return undefined
    return setTimeout(() => this.#runDue(), Math.max(0, next.dueMs - performance.now()))
  }

  #runDue(): void {
    while (this.#entries[0] && this.#entries[0].dueMs <= performance.now()) this.#entries.shift()?.action()
    this.#timer = this.#wait()
  }
}
