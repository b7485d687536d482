import type { StoredEntry } from '@multinode/core'

/** One for each key, in order. */
export type ReadMany = (
  keys: readonly string[],
  timeoutMs: number,
) => Promise<readonly (StoredEntry | undefined)[]>

interface Batch {
  readonly keys: string[]
  readonly timeoutMs: number
  readonly entries: ReturnType<ReadMany>
}

const mostKeys = 64
/** What one command should bring at the most: none of it is of use before all of it is there. */
const mostBytes = 256 * 1_024

/**
 * Reads of one key each, of which those that are asked for in the same turn of the event loop leave together: a command costs more than what is found by
 * it. Nothing is sent before the last of them has asked, so each answer is as new as its question.
 */
export class GatheredReads {
  readonly #readMany: ReadMany
  #open: Batch | undefined
  /** Of the largest entry; smaller ones are believed step by step. */
  #entryBytes = 0
  #mostKeys = mostKeys

  constructor(readMany: ReadMany) {
    this.#readMany = readMany
  }

  /** Settles as the common read does. */
  want(key: string, timeoutMs: number): Promise<StoredEntry | undefined> {
    let batch = this.#open
    if (batch === undefined || batch.keys.length >= this.#mostKeys || batch.timeoutMs !== timeoutMs) {
      batch = this.#begin(timeoutMs)
    }
    const index = batch.keys.push(key) - 1
    return batch.entries.then((entries) => entries[index])
  }

  #begin(timeoutMs: number): Batch {
    const keys: string[] = []
    const entries: ReturnType<ReadMany> = new Promise((resolve, reject) => {
      process.nextTick(() => {
        if (this.#open === batch) this.#open = undefined
        this.#readMany(keys, timeoutMs).then((found) => {
          this.#learn(found)
          resolve(found)
        }, reject)
      })
    })
    const batch = { keys, timeoutMs, entries }
    this.#open = batch
    return batch
  }

  #learn(entries: readonly (StoredEntry | undefined)[]): void {
    let largest = 0
    for (const entry of entries) largest = Math.max(largest, entry?.data.byteLength ?? 0)
    this.#entryBytes = Math.max(largest, this.#entryBytes * 0.9)
    this.#mostKeys = Math.max(1, Math.min(mostKeys, Math.floor(mostBytes / this.#entryBytes)))
  }
}
