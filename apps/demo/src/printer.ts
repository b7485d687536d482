import type { Lease, Locks } from '@multinode/core'
import type { Order, Orders } from './orders.ts'

const maxAttempts = 3
/** Somebody else's orders, after that node died, and a second try after a failure. */
const lookEveryMs = 1_000
/** How long a dead node's order waits for the next one. Printing takes a fraction of a second. */
const leaseMs = 10_000
/** How many orders other nodes may be printing right now, at most. */
const lookAhead = 50

export interface PrinterParts {
  readonly orders: Orders
  readonly locks: Locks
  readonly node: string
  /** Makes the sheet and stores it; may be called twice for one order. */
  readonly print: (order: Order) => Promise<void>
  readonly report: (message: string) => void
}

/**
 * Prints what is unfinished in the order book, oldest first and one at a time, whichever node took the order and
 * whenever: so orders of an earlier run and of a node that died are finished too. An order is printed under its own
 * lock, by one node. What fails is tried three times in all, and is `failed` then; an attempt that a crash cut short counts.
 */
export class Printer {
  readonly #parts: PrinterParts
  #stopped = false
  #woken = false
  #endPause: (() => void) | undefined
  #lastTrouble: string | undefined

  constructor(parts: PrinterParts) {
    this.#parts = parts
  }

  /** To be called once. */
  start(): void {
    void this.#run()
  }

  /** An order was placed: look now. */
  wake(): void {
    this.#woken = true
    this.#endPause?.()
  }

  /** Takes no further order. The one that is being printed is finished: its lock tells `cluster.drain()` when. */
  stop(): void {
    this.#stopped = true
    this.wake()
  }

  /** Never rejects: trouble is reported, and after a pause comes the next try. */
  async #run(): Promise<void> {
    while (!this.#stopped) {
      if (!(await this.#printNextOrReport())) await this.#pause()
    }
  }

  async #printNextOrReport(): Promise<boolean> {
    try {
      const hasPrinted = await this.#printNext()
      this.#lastTrouble = undefined
      return hasPrinted
    } catch (error) {
      this.#reportOnce(reasonOf(error))
      return false
    }
  }

  /** @returns whether there may be more to do right away */
  async #printNext(): Promise<boolean> {
    this.#woken = false
    const { orders, locks } = this.#parts
    for (const id of orders.unfinished(lookAhead)) {
      await using lease = await locks.tryAcquire(`print:${id}`, { ttlMs: leaseMs })
      if (this.#stopped) return false
      if (lease !== null) return await this.#attempt(id, lease)
    }
    return false
  }

  async #attempt(id: string, { token }: Lease): Promise<boolean> {
    const { orders, node, print } = this.#parts
    const order = orders.claim(id, { node, token, maxAttempts })
    if (order?.status !== 'printing') return true
    try {
      await print(order)
    } catch (error) {
      orders.settle(id, token, order.attempts < maxAttempts ? 'queued' : 'failed')
      const attempt = `attempt ${order.attempts} of ${maxAttempts}`
      throw new Error(`Order ${id} could not be printed (${attempt}): ${reasonOf(error)}`, { cause: error })
    }
    orders.settle(id, token, 'finished')
    return true
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#woken) return resolve()
      const timer = setTimeout(resolve, lookEveryMs)
      this.#endPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** A broker that is away is the same news every second. */
  #reportOnce(message: string): void {
    if (message !== this.#lastTrouble) this.#parts.report(message)
    this.#lastTrouble = message
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
