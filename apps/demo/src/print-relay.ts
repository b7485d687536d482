import type { Queue } from '@multinode/core'
import type { Orders } from './orders.ts'
import type { PrintJob } from './printer.ts'

const lookEveryMs = 1_000
/** Until then the node that took an order adds its job; after it any node does. */
const ownMs = 5_000
/** An order that was not printed by then lost its job, whatever its broker says. */
const againAfterMs = 600_000
/** Sooner where the broker has no jobs at all: a master that died may take along what it had just said to have. */
const goneAfterMs = 10_000
const lookAhead = 500

export interface PrintRelayParts {
  readonly orders: Orders
  readonly queue: Queue<PrintJob>
  readonly report: (message: string) => void
}

/**
 * Gives the queue a job for each order of the order book. The order is written first, in one transaction with the stock, and the book remembers when its job
 * was added: so an order whose node died in between, or whose broker was away, gets its job later ("transactional outbox"). It may get two of them, which
 * does no harm: see {@link Printer}.
 */
export class PrintRelay {
  readonly #parts: PrintRelayParts
  #timer: NodeJS.Timeout | undefined
  #lastTrouble: string | undefined

  constructor(parts: PrintRelayParts) {
    this.#parts = parts
  }

  /** To be called once. @param jobsAreGone the queue kept none over the restart */
  start(jobsAreGone: boolean): void {
    const { orders } = this.#parts
    if (jobsAreGone) orders.forgetJobs()
    this.#timer = setTimeout(() => void this.#look(0), 0)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Of an order of this node. Never rejects: what fails now is done later. */
  async add(orderId: string): Promise<void> {
    try {
      await this.#add(orderId)
    } catch (error) {
      this.#reportOnce(error)
    }
  }

  async #look(ownForMs: number): Promise<void> {
    const { orders } = this.#parts
    try {
      const againForMs = (await this.#areGone()) ? goneAfterMs : againAfterMs
      for (const id of orders.withoutJob({ ownForMs, againAfterMs: againForMs, limit: lookAhead })) {
        if (this.#timer === undefined) return
        await this.#add(id)
      }
      this.#lastTrouble = undefined
    } catch (error) {
      this.#reportOnce(error)
    }
    if (this.#timer !== undefined) this.#timer = setTimeout(() => void this.#look(ownMs), lookEveryMs)
  }

  /** Whether the broker has no job, as far as it can tell; it is asked only where an order should have had one for some time. */
  async #areGone(): Promise<boolean> {
    const { orders, queue } = this.#parts
    const [overdue] = orders.withoutJob({ ownForMs: ownMs, againAfterMs: goneAfterMs, limit: 1 })
    if (overdue === undefined) return false
    const { waiting, active, delayed } = await queue.counts()
    return waiting === 0 && (active ?? 0) === 0 && (delayed ?? 0) === 0
  }

  async #add(orderId: string): Promise<void> {
    const { orders, queue } = this.#parts
    await queue.add({ orderId })
    orders.hasJob(orderId)
  }

  /** A broker that is away is the same news every second. */
  #reportOnce(error: unknown): void {
    const message = `No job for an order yet: ${error instanceof Error ? error.message : String(error)}`
    if (message !== this.#lastTrouble && this.#timer !== undefined) this.#parts.report(message)
    this.#lastTrouble = message
  }
}
