/**
 * What all callers of one turn of the event loop want to know is asked for once. Each answer is as new as its caller's question: nothing is sent before
 * the last of them has asked.
 */
export class SharedTurn<T> {
  readonly #ask: (keys: readonly string[]) => Promise<ReadonlyMap<string, T>>
  #turn: { readonly keys: Set<string>; readonly answers: Promise<ReadonlyMap<string, T>> } | undefined

  constructor(ask: (keys: readonly string[]) => Promise<ReadonlyMap<string, T>>) {
    this.#ask = ask
  }

  /** @returns the answers to all that was asked for in this turn */
  want(keys: readonly string[]): Promise<ReadonlyMap<string, T>> {
    const turn = (this.#turn ??= this.#begin())
    for (const key of keys) turn.keys.add(key)
    return turn.answers
  }

  #begin(): { keys: Set<string>; answers: Promise<ReadonlyMap<string, T>> } {
    const keys = new Set<string>()
    const answers = new Promise<ReadonlyMap<string, T>>((resolve, reject) => {
      // Before the client sends what it has gathered in this turn.
      process.nextTick(() => {
        this.#turn = undefined
        this.#ask([...keys]).then(resolve, reject)
      })
    })
    return { keys, answers }
  }
}
