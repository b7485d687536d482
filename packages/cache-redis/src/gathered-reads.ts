interface Batch<T> {
  readonly keys: string[]
  readonly timeoutMs: number
  readonly values: Promise<readonly T[]>
}

/** So that large values come one after the other, and the first ones are worked on while the others travel. */
const mostKeys = 64

/**
 * Reads of one key each, of which those that are asked for in the same turn of the event loop leave together: a command costs more than what is found by
 * it. Nothing is sent before the last of them has asked, so each answer is as new as its question.
 */
export class GatheredReads<T> {
  readonly #readMany: (keys: readonly string[], timeoutMs: number) => Promise<readonly T[]>
  #open: Batch<T> | undefined

  constructor(readMany: (keys: readonly string[], timeoutMs: number) => Promise<readonly T[]>) {
    this.#readMany = readMany
  }

  /** Settles as the common read does. */
  want(key: string, timeoutMs: number): Promise<T | undefined> {
    let batch = this.#open
    if (batch === undefined || batch.keys.length === mostKeys || batch.timeoutMs !== timeoutMs) {
      batch = this.#begin(timeoutMs)
    }
    const index = batch.keys.push(key) - 1
    return batch.values.then((values) => values[index])
  }

  #begin(timeoutMs: number): Batch<T> {
    const keys: string[] = []
    const values = new Promise<readonly T[]>((resolve, reject) => {
      process.nextTick(() => {
        if (this.#open === batch) this.#open = undefined
        this.#readMany(keys, timeoutMs).then(resolve, reject)
      })
    })
    const batch = { keys, timeoutMs, values }
    this.#open = batch
    return batch
  }
}
