import { isMultinodeError, type WorkerIds } from '@multinode/core'
import { createSnowflake, type StringSnowflake } from '@multinode/snowflake-id'

/** How long an order waits for a worker id, when this node has none. */
const acquireMs = 5_000

export interface OrderIdsParts {
  readonly workerIds: WorkerIds
  /** How long this node keeps its worker id without renewal. */
  readonly workerLeaseMs: number
  /** Whether no node ever used this backend before. */
  readonly isFirstStart: boolean
  readonly report: (message: string) => void
}

/** Numbers of orders: unique on all nodes, in the order of time, and still so when a node is frozen past the lease of its worker id. */
export class OrderIds {
  readonly #parts: OrderIdsParts
  #generator: Promise<StringSnowflake> | undefined
  #isReady = false
  #stopped = false

  constructor(parts: OrderIdsParts) {
    this.#parts = parts
  }

  /** Whether an order would get its number at once. */
  get isReady(): boolean {
    return this.#isReady
  }

  /**
   * Takes the worker id, so that no order has to wait for it. Resolves after the first attempt, which takes 5 s at most, and goes on by itself.
   * @throws what is no use to try again
   */
  async start(): Promise<void> {
    try {
      await this.#current()
    } catch (error) {
      if (!isMultinodeError(error) || !error.retryable) throw error
      this.#report(error)
      void this.#keepTrying()
    }
  }

  stop(): void {
    this.#stopped = true
  }

  /** @throws `EXHAUSTED` or what the backend says, when there was no worker id in time */
  async next(): Promise<string> {
    const current = this.#current()
    try {
      return await (await current).generateAsync()
    } catch (error) {
      if (!isMultinodeError(error) || error.code !== 'LOST') throw error
      // Another node has the worker id now: what was made with it stays unique, and we need another one, once for all who wait.
      if (this.#generator === current) {
        this.#forget()
        // Also when the backend is away for longer than this order waits: a node that is not ready gets no other one that would ask.
        void this.#keepTrying()
      }
      return (await this.#current()).generateAsync()
    }
  }

  /** Each attempt takes its time, so this is no hot loop. */
  async #keepTrying(): Promise<void> {
    let isWorthIt = true
    while (isWorthIt && !this.#stopped && !this.#isReady) {
      await this.#current().catch((error: unknown) => {
        this.#report(error)
        isWorthIt = isMultinodeError(error) && error.retryable
      })
    }
  }

  #report(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    if (!this.#stopped) this.#parts.report(`This node has no worker id yet. ${reason}`)
  }

  #current(): Promise<StringSnowflake> {
    this.#generator ??= this.#make().catch((error: unknown) => {
      this.#forget()
      throw error
    })
    return this.#generator
  }

  async #make(): Promise<StringSnowflake> {
    const { workerIds, workerLeaseMs, isFirstStart } = this.#parts
    const worker = await workerIds.acquire({
      range: 32,
      waitMs: acquireMs,
      leaseMs: workerLeaseMs,
      quarantineMs: workerLeaseMs,
      maxSkewMs: Math.ceil(workerLeaseMs / 3),
      isFirstStart,
    })
    this.#isReady = true
    return createSnowflake({ worker, layout: 'js53', output: 'string' })
  }

  #forget(): void {
    this.#generator = undefined
    this.#isReady = false
  }
}
