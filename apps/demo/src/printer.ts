import { type Job, type Locks, type Queue, RetryLater } from '@multinode/core'
import type { Order, Orders } from './orders.ts'

export interface PrintJob {
  readonly orderId: string
}

export const maxAttempts = 3
/** How long a dead node's order waits for the next one. Printing takes a fraction of a second. */
const leaseMs = 10_000
/** Somebody else has the order: a node that died, or one that was cut off and still prints. */
const askAgainMs = 500

export interface PrinterParts {
  readonly orders: Orders
  readonly queue: Queue<PrintJob>
  readonly locks: Locks
  readonly node: string
  /** Makes the sheet and stores it; may be called twice for one order. */
  readonly print: (order: Order) => Promise<void>
  readonly report: (message: string) => void
}

/**
 * Prints the orders whose jobs this node gets, one at a time. A job runs at least once, and may run twice at the same time when its worker was cut off: so an order
 * is printed under its own lock, and the order book takes a step only with the token of it. What fails is tried three times in all, and is `failed`
 * then; an attempt that a crash cut short counts.
 */
export class Printer {
  readonly #parts: PrinterParts

  constructor(parts: PrinterParts) {
    this.#parts = parts
  }

  /** To be called once. `cluster.drain()` ends it, and waits for the order that is being printed. */
  async start(): Promise<void> {
    await this.#parts.queue.process((job) => this.#print(job), { leaseMs })
  }

  async #print({ payload: { orderId } }: Job<PrintJob>): Promise<void> {
    const { orders, locks, node, print, report } = this.#parts
    await using lease = await locks.tryAcquire(`print:${orderId}`, { ttlMs: leaseMs })
    if (lease === null) throw new RetryLater(askAgainMs)
    const { token } = lease
    const order = orders.claim(orderId, { node, token, maxAttempts })
    // Its job may come again when it is done.
    if (order?.status !== 'printing') return
    try {
      await print(order)
    } catch (error) {
      orders.settle(orderId, token, order.attempts < maxAttempts ? 'queued' : 'failed')
      const attempt = `attempt ${order.attempts} of ${maxAttempts}`
      report(`Order ${orderId} could not be printed (${attempt}): ${reasonOf(error)}`)
      throw error
    }
    orders.settle(orderId, token, 'finished')
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
