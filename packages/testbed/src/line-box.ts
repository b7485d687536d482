interface Waiter {
  readonly accepts: (line: string) => boolean
  readonly resolve: (line: string) => void
  readonly reject: () => void
}

/** Lines that came and were not taken yet, and the calls that wait for lines to come. */
export class LineBox {
  readonly #unread: string[] = []
  readonly #waiters = new Set<Waiter>()
  #ended = false

  add(line: string): void {
    for (const waiter of this.#waiters) {
      if (!waiter.accepts(line)) continue
      this.#waiters.delete(waiter)
      return waiter.resolve(line)
    }
    this.#unread.push(line)
  }

  /** No line will come any more. */
  end(): void {
    this.#ended = true
    for (const waiter of this.#waiters) waiter.reject()
    this.#waiters.clear()
  }

  /**
   * Takes the first line that contains the text or matches the pattern, when it comes; the others stay.
   * Rejects with `explain(reason)` after `deadlineMs`, or when no line can come any more.
   */
  take(match: string | RegExp, deadlineMs: number, explain: (reason: string) => Error): Promise<string> {
    const accepts = (line: string) =>
      typeof match === 'string' ? line.includes(match) : line.search(match) >= 0
    const index = this.#unread.findIndex(accepts)
    if (index >= 0) return Promise.resolve(this.#unread.splice(index, 1).join())
    if (this.#ended) return Promise.reject(explain('before its end'))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter)
        reject(explain(`within ${deadlineMs} ms`))
      }, deadlineMs)
      const waiter: Waiter = {
        accepts,
        resolve: (line) => {
          clearTimeout(timer)
          resolve(line)
        },
        reject: () => {
          clearTimeout(timer)
          reject(explain('before its end'))
        },
      }
      this.#waiters.add(waiter)
    })
  }
}
