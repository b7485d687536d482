import type { CapabilityContext } from '../runtime/capability-context.ts'
import { DriverCalls } from '../runtime/driver-calls.ts'
import type { QueueDefinition, QueueDriver, QueueLine } from './queue-driver.ts'

/** A queue at its backend: opened by the first call, and again by the next one if that failed. */
export class OpenLine {
  readonly #driver: QueueDriver
  readonly #definition: QueueDefinition
  readonly #calls: DriverCalls
  readonly #callTimeoutMs: number
  #line: Promise<QueueLine> | undefined

  constructor(driver: QueueDriver, definition: QueueDefinition, context: CapabilityContext) {
    this.#driver = driver
    this.#definition = definition
    this.#calls = new DriverCalls(context)
    this.#callTimeoutMs = context.callTimeoutMs
  }

  /** Settles within `callTimeoutMs`, plus a tenth, the opening included. */
  call<T>(operation: string, work: (line: QueueLine, timeoutMs: number) => Promise<T>): Promise<T> {
    const timeoutMs = this.#callTimeoutMs
    return this.#calls.call(operation, timeoutMs, async () => work(await this.#open(timeoutMs), timeoutMs))
  }

  /** As {@link call}, for what may be repeated: goes on through short outages. */
  insist<T>(
    operation: string,
    work: (line: QueueLine, timeoutMs: number) => Promise<T>,
    isWanted: () => boolean,
  ): Promise<T> {
    const attempt = async (timeoutMs: number): Promise<T> => work(await this.#open(timeoutMs), timeoutMs)
    return this.#calls.insist(operation, attempt, isWanted)
  }

  #open(timeoutMs: number): Promise<QueueLine> {
    this.#line ??= this.#driver.open(this.#definition, timeoutMs).catch((error: unknown) => {
      this.#line = undefined
      throw error
    })
    return this.#line
  }
}
