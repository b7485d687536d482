/** Something that several drivers may hold at once and that is closed when the last one lets go. */
export interface Closable {
  close(): Promise<void>
}

/** A share of a pooled connection. `release` is idempotent; after it `connection` must not be used. */
export interface Share<T extends Closable> {
  readonly connection: T
  readonly release: () => Promise<void>
}

/**
 * The connections of one cluster object, by key (backend and address). There is no module state: two cluster objects
 * never share a socket.
 */
export class ConnectionPool {
  readonly #entries = new Map<string, { opened: Promise<Closable>; shares: number }>()

  /**
   * The connection under `key`, opened by the first caller. When opening fails every waiting caller gets the error
   * and the next one tries anew. Callers of one key must pass an `open` of the same type.
   */
  async share<T extends Closable>(key: string, open: () => Promise<T>): Promise<Share<T>> {
    const existing = this.#entries.get(key)
    const entry = existing ?? { opened: open(), shares: 0 }
    if (existing === undefined) this.#entries.set(key, entry)
    entry.shares += 1
    try {
      const connection = (await entry.opened) as T
      return { connection, release: once(() => this.#release(key, entry)) }
    } catch (error) {
      if (this.#entries.get(key) === entry) this.#entries.delete(key)
      throw error
    }
  }

  get size(): number {
    return this.#entries.size
  }

  async #release(key: string, entry: { opened: Promise<Closable>; shares: number }): Promise<void> {
    entry.shares -= 1
    if (entry.shares > 0) return
    this.#entries.delete(key)
    const connection = await entry.opened
    await connection.close()
  }
}

function once(work: () => Promise<void>): () => Promise<void> {
  let result: Promise<void> | undefined
  return () => (result ??= work())
}
