import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'

export const orderStatuses = ['queued', 'printing', 'finished', 'failed'] as const

export type OrderStatus = (typeof orderStatuses)[number]

export interface OrderRequest {
  readonly customer: string
  readonly item: string
  readonly quantity: number
}

export interface Order extends OrderRequest {
  readonly id: string
  /** Of one, when the order was placed; null for orders from before there were prices. */
  readonly priceCents: number | null
  readonly status: OrderStatus
  /** The node that printed it last. */
  readonly node: string | null
  /** How many times printing was begun. */
  readonly attempts: number
  readonly placedAt: Date
}

export interface NewOrder extends OrderRequest {
  readonly id: string
  readonly priceCents: number
  readonly idempotencyKey: string | undefined
}

export interface Claim {
  readonly node: string
  /** The fencing token of the order's print lock. */
  readonly token: number
  readonly maxAttempts: number
}

/** The order book. As with the stock, a step under the print lock presents its token and a smaller one is refused. */
export class Orders {
  readonly #database: DatabaseSync

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  add({ id, customer, item, quantity, priceCents, idempotencyKey }: NewOrder): void {
    this.#database
      .prepare(
        `INSERT INTO orders (id, idempotency_key, customer, item, quantity, price_cents, placed_at_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(id, idempotencyKey ?? null, customer, item, quantity, priceCents, Date.now())
  }

  find(id: string): Order | undefined {
    const row = this.#database.prepare('SELECT * FROM orders WHERE id = ?').get(id)
    return row && toOrder(row)
  }

  findByKey(idempotencyKey: string): Order | undefined {
    const row = this.#database.prepare('SELECT * FROM orders WHERE idempotency_key = ?').get(idempotencyKey)
    return row && toOrder(row)
  }

  /** Newest first. */
  list(limit: number, status?: OrderStatus): Order[] {
    const rows =
      status === undefined
        ? this.#database.prepare('SELECT * FROM orders ORDER BY number DESC LIMIT ?').all(limit)
        : this.#database
            .prepare('SELECT * FROM orders WHERE status = ? ORDER BY number DESC LIMIT ?')
            .all(status, limit)
    return rows.map(toOrder)
  }

  /**
   * Ids of what is unfinished and has no job, oldest first: not for the first `ownForMs`, and again `againAfterMs` after it got one.
   */
  withoutJob(options: {
    readonly ownForMs: number
    readonly againAfterMs: number
    readonly limit: number
  }): string[] {
    const nowMs = Date.now()
    const rows = this.#database
      .prepare(
        `SELECT id FROM orders WHERE status IN ('queued', 'printing')
           AND (job_at_ms IS NULL AND placed_at_ms <= :placed OR job_at_ms <= :again) ORDER BY number LIMIT :limit`,
      )
      .all({
        ':placed': nowMs - options.ownForMs,
        ':again': nowMs - options.againAfterMs,
        ':limit': options.limit,
      })
    return rows.map((row) => String(row['id']))
  }

  /** Its job was added. */
  hasJob(id: string): void {
    this.#database.prepare('UPDATE orders SET job_at_ms = ? WHERE id = ?').run(Date.now(), id)
  }

  /** The jobs of all that is unfinished are gone. */
  forgetJobs(): void {
    this.#database.prepare("UPDATE orders SET job_at_ms = NULL WHERE status IN ('queued', 'printing')").run()
  }

  /**
   * Begins an attempt: the order is `printing`, or `failed` where `maxAttempts` were begun before. `undefined` when it
   * needs no printing any more or a later holder of the lock has it.
   */
  claim(id: string, { node, token, maxAttempts }: Claim): Order | undefined {
    const row = this.#database
      .prepare(
        `UPDATE orders SET node = :node, print_token = :token, attempts = attempts + (attempts < :max),
           status = CASE WHEN attempts < :max THEN 'printing' ELSE 'failed' END
         WHERE id = :id AND status IN ('queued', 'printing') AND print_token <= :token RETURNING *`,
      )
      .get({ ':id': id, ':node': node, ':token': token, ':max': maxAttempts })
    return row && toOrder(row)
  }

  /** Ends an attempt; without effect when a later holder of the lock has the order. */
  settle(id: string, token: number, status: Exclude<OrderStatus, 'printing'>): void {
    this.#database
      .prepare("UPDATE orders SET status = ? WHERE id = ? AND status = 'printing' AND print_token = ?")
      .run(status, id, token)
  }
}

function toOrder(row: Readonly<Record<string, SQLOutputValue>>): Order {
  return {
    id: String(row['id']),
    customer: String(row['customer']),
    item: String(row['item']),
    quantity: Number(row['quantity']),
    priceCents: row['price_cents'] === null ? null : Number(row['price_cents']),
    status: toStatus(row['status']),
    node: row['node'] === null ? null : String(row['node']),
    attempts: Number(row['attempts']),
    placedAt: new Date(Number(row['placed_at_ms'])),
  }
}

function toStatus(value: SQLOutputValue | undefined): OrderStatus {
  const status = orderStatuses.find((each) => each === value)
  if (status === undefined) throw new Error(`an order in shop.sqlite has the status ${String(value)}`)
  return status
}
