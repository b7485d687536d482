import type { DatabaseSync } from 'node:sqlite'
import { ShopError } from './shop-error.ts'

export interface StockLine {
  readonly item: string
  readonly quantity: number
}

/**
 * What is left of each item, guarded by fencing tokens.
 *
 * A lock alone does not protect this row. A lock of a cluster is a lease: it runs out, so that a dead holder blocks
 * nobody. But a holder may also be merely *paused*, by a garbage collection, a full CPU or a stopped container, after it
 * has read "30 left" and before it writes "30 - 5 = 25". Meanwhile its lease runs out, the next holder sells 10 and writes
 * 20; then the first one wakes up, knows nothing of it, and writes 25. Ten items are sold that do not exist. No look at
 * a clock before the write helps: the pause may come right after that look.
 *
 * So the row defends itself. Each grant of the lock carries a token greater than all before it, and the row carries
 * the greatest token it has seen. Every step under the lock presents its token, and a smaller one is refused: the late
 * write of 25 comes with an old token and changes nothing. The *read* must present its token too. If only writes did,
 * a new holder could read 30, an old one could still write 25, as nothing newer was written yet, and the new one would
 * overwrite that with its own sum.
 *
 * See M. Kleppmann, "How to do distributed locking" (2016). `test/stock.test.ts` plays this through, with the same
 * steps without tokens beside it, which go wrong.
 */
export class Stock {
  readonly #database: DatabaseSync

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** For a look only: no decision may rest on it. */
  list(): StockLine[] {
    const rows = this.#database.prepare('SELECT item, quantity FROM stock ORDER BY item').all()
    return rows.map((row) => ({ item: String(row['item']), quantity: Number(row['quantity']) }))
  }

  /**
   * What is left, for the holder of the item's lock. From here on, smaller tokens are refused.
   * @throws `STALE_TOKEN` when a later holder was here
   */
  read(item: string, token: number): number {
    const row = this.#database
      .prepare('UPDATE stock SET token = ? WHERE item = ? AND token <= ? RETURNING quantity')
      .get(token, item, token)
    if (row === undefined) throw staleToken(item, token)
    return Number(row['quantity'])
  }

  /**
   * Stores what is left now.
   * @throws `STALE_TOKEN` when a later holder was here, and nothing is changed
   */
  write(item: string, quantity: number, token: number): void {
    const { changes } = this.#database
      .prepare('UPDATE stock SET quantity = ?, token = ? WHERE item = ? AND token <= ?')
      .run(quantity, token, item, token)
    if (changes === 0) throw staleToken(item, token)
  }
}

function staleToken(item: string, token: number): ShopError {
  return new ShopError(
    'STALE_TOKEN',
    `The stock of ${JSON.stringify(item)} refused the fencing token ${token}: a later holder of the lock was here. ` +
      'Nothing was changed; place the order again.',
  )
}
