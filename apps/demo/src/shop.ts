import { mkdirSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { type Cluster, type DrainReport, MultinodeError } from '@multinode/core'
import { Catalogue } from './catalogue.ts'
import { CleanUp } from './clean-up.ts'
import { CleanUpLog } from './clean-up-log.ts'
import { inTransaction, openDatabase } from './database.ts'
import { OrderIds } from './order-ids.ts'
import { type NewOrder, type OrderRequest, Orders } from './orders.ts'
import { maxAttempts, Printer, type PrintJob } from './printer.ts'
import { PrintRelay } from './print-relay.ts'
import { Prices } from './prices.ts'
import { SheetFiles } from './sheet-files.ts'
import { Sheets } from './sheets.ts'
import { Settings } from './settings.ts'
import { ShopError } from './shop-error.ts'
import { Stock } from './stock.ts'

/** How long an order waits for others of the same item. */
const stockWaitMs = 5_000
/** How long the next one waits when a node died with the stock in its hands. A reservation takes a few ms. */
const stockLeaseMs = 5_000

export interface ShopParts {
  readonly cluster: Cluster
  readonly dataFolder: string
  readonly cleanUpEveryMs: number
  readonly workerLeaseMs: number
  readonly isFirstStart: boolean
  readonly cachePatienceMs: number
  readonly report: (message: string) => void
}

/** The print shop of one node: takes orders, reserves the stock, has them printed, and cleans up at its turn. */
export class Shop implements Disposable {
  readonly cluster: Cluster
  readonly orders: Orders
  readonly stock: Stock
  readonly catalogue: Catalogue
  readonly prices: Prices
  readonly sheets: Sheets
  readonly cleanUps: CleanUpLog
  readonly orderIds: OrderIds
  readonly settings: Settings
  readonly #database: DatabaseSync
  readonly #printer: Printer
  readonly #relay: PrintRelay
  readonly #cleanUp: CleanUp

  constructor(parts: ShopParts) {
    const { cluster, dataFolder, cleanUpEveryMs, workerLeaseMs, isFirstStart, cachePatienceMs, report } =
      parts
    this.cluster = cluster
    this.#database = openRecords(dataFolder)
    this.orders = new Orders(this.#database)
    this.stock = new Stock(this.#database)
    this.catalogue = new Catalogue(this.#database)
    this.prices = new Prices({ cache: cluster.cache, catalogue: this.catalogue, patienceMs: cachePatienceMs })
    const sheetFiles = new SheetFiles(dataFolder)
    this.sheets = new Sheets({
      cached: cluster.cache.files,
      patienceMs: cachePatienceMs,
      stored: sheetFiles,
      report,
    })
    this.cleanUps = new CleanUpLog(this.#database)
    this.orderIds = new OrderIds({ workerIds: cluster.workerIds, workerLeaseMs, isFirstStart, report })
    this.settings = new Settings({ database: this.#database, pubsub: cluster.pubsub, report })
    const queue = cluster.queue<PrintJob>('print', {
      attempts: maxAttempts,
      backoff: { type: 'exponential', delayMs: 500, jitter: 0 },
    })
    this.#relay = new PrintRelay({ orders: this.orders, queue, report })
    this.#printer = new Printer({
      orders: this.orders,
      queue,
      locks: cluster.locks,
      node: cluster.node.nodeId,
      print: (order) => this.sheets.print(order),
      report,
    })
    this.#cleanUp = new CleanUp({
      log: this.cleanUps,
      locks: cluster.locks,
      node: cluster.node.nodeId,
      everyMs: cleanUpEveryMs,
      removeAbandoned: (signal) => sheetFiles.removeAbandoned(signal),
      report,
    })
  }

  /** Resolves when orders can be taken and are printed. */
  async start(): Promise<void> {
    const { persistence } = this.cluster.queues.driver.features
    this.#relay.start(persistence === 'none')
    this.#cleanUp.start()
    await Promise.all([this.orderIds.start(), this.settings.start(), this.#printer.start()])
  }

  /**
   * Reserves the stock and writes the order down, both or neither; it is printed in the background. The same key with
   * the same request gives the order that is there already.
   * @returns the order's id
   * @throws `UNKNOWN_ITEM`, `TOO_MANY`, `OUT_OF_STOCK`, `KEY_REUSED`, `DRAINING`, or what the prices or the lock reject with
   */
  async place(request: OrderRequest, idempotencyKey?: string): Promise<string> {
    if (this.cluster.health().state !== 'running') {
      throw new ShopError('DRAINING', 'This node takes no new orders: it is being drained. Try another one.')
    }
    this.#checkItem(request.item)
    this.settings.check(request.quantity)
    const earlier = this.#earlierOrder(request, idempotencyKey)
    if (earlier !== undefined) return earlier
    // Both before the lock, which nobody should hold while something slow is asked.
    const [newId, priceCents] = await Promise.all([this.orderIds.next(), this.prices.of(request.item)])
    const order = { ...request, id: newId, priceCents, idempotencyKey }
    const id = await this.cluster.locks.run(
      `stock:${request.item}`,
      (lease) => this.#reserve(order, lease.token),
      { ttlMs: stockLeaseMs, waitMs: stockWaitMs },
    )
    void this.#relay.add(id)
    return id
  }

  /** Maintenance mode: from now on no new orders and no clean-up; what is being printed is finished. Repeated calls share the result. */
  drain(deadlineMs: number): Promise<DrainReport> {
    this.#relay.stop()
    this.#cleanUp.stop()
    this.orderIds.stop()
    return this.cluster.drain({ deadlineMs })
  }

  [Symbol.dispose](): void {
    this.#relay.stop()
    this.#cleanUp.stop()
    this.orderIds.stop()
    this.#database.close()
  }

  #checkItem(item: string): void {
    const known = this.stock.list().map((line) => line.item)
    if (known.includes(item)) return
    throw new ShopError('UNKNOWN_ITEM', `item is ${JSON.stringify(item)}; known items: ${known.join(', ')}.`)
  }

  /** Both steps on the stock present the token of the lock: see {@link Stock} for why. */
  #reserve(order: NewOrder, token: number): string {
    const { id, item, quantity, idempotencyKey } = order
    const left = this.stock.read(item, token)
    return inTransaction(this.#database, () => {
      // Again, because the same request may have come twice at once, also to two nodes.
      const earlier = this.#earlierOrder(order, idempotencyKey)
      if (earlier !== undefined) return earlier
      if (left < quantity) {
        throw new ShopError('OUT_OF_STOCK', `quantity is ${quantity}; of ${item} there are ${left} left.`)
      }
      this.stock.write(item, left - quantity, token)
      this.orders.add(order)
      return id
    })
  }

  #earlierOrder(request: OrderRequest, idempotencyKey: string | undefined): string | undefined {
    const earlier = idempotencyKey === undefined ? undefined : this.orders.findByKey(idempotencyKey)
    if (earlier === undefined) return undefined
    const { customer, item, quantity } = request
    if (earlier.customer === customer && earlier.item === item && earlier.quantity === quantity) {
      return earlier.id
    }
    throw new ShopError(
      'KEY_REUSED',
      `Idempotency-Key is ${JSON.stringify(idempotencyKey)}, which came with another order before: ` +
        'take a new key for a new order.',
    )
  }
}

function openRecords(dataFolder: string): DatabaseSync {
  try {
    mkdirSync(dataFolder, { recursive: true })
    return openDatabase(dataFolder)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new MultinodeError('MISCONFIGURED', `DATA_DIR=${dataFolder} cannot be used: ${reason}`, {
      cause: error,
    })
  }
}
