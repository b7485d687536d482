import type { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'

/** Of each way: a real catalogue is a service of somebody else, far away. */
const oneWayMs = 75

/** What the items cost, in cents. Right, and slow. */
export class Catalogue {
  readonly #database: DatabaseSync
  #reads = 0

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** How often this node asked it. */
  get reads(): number {
    return this.#reads
  }

  /**
   * The price as it is on half of the way: what it is changed to while the answer travels is not in it.
   * @returns null when there is no such item
   */
  async read(item: string, signal: AbortSignal): Promise<number | null> {
    await sleep(oneWayMs, undefined, { signal })
    this.#reads += 1
    const row = this.#database.prepare('SELECT price_cents FROM catalogue WHERE item = ?').get(item)
    await sleep(oneWayMs, undefined, { signal })
    return row === undefined ? null : Number(row['price_cents'])
  }

  /** @returns whether there is such an item */
  change(item: string, priceCents: number): boolean {
    const { changes } = this.#database
      .prepare('UPDATE catalogue SET price_cents = ? WHERE item = ?')
      .run(priceCents, item)
    return changes > 0
  }
}
