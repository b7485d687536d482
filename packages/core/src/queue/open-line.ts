import type { CapabilityContext } from '../runtime/capability-context.ts'
import { DriverCalls } from '../runtime/driver-calls.ts'
import type {
  ConsumeOptions,
  Consumer,
  JobReceiver,
  QueueDefinition,
  QueueDriver,
  QueueLine,
} from './queue-driver.ts'

/** A queue at its backend: opened by the first call, and again by the next one if that failed. */
export class OpenLine {
  readonly #driver: QueueDriver
  readonly #definition: QueueDefinition
  readonly #calls: DriverCalls
  readonly #callTimeoutMs: number
  #line: Promise<QueueLine> | undefined
  #opened: QueueLine | undefined

  constructor(driver: QueueDriver, definition: QueueDefinition, context: CapabilityContext) {
    this.#driver = driver
    this.#definition = definition
    this.#calls = new DriverCalls(context)
    this.#callTimeoutMs = context.callTimeoutMs
  }

  /** Settles within `callTimeoutMs`, plus a tenth, the opening included. */
  call<T>(operation: string, work: (line: QueueLine, timeoutMs: number) => Promise<T>): Promise<T> {
    const timeoutMs = this.#callTimeoutMs
    return this.#calls.call(operation, timeoutMs, () => this.#on(timeoutMs, work))
  }

  /** As {@link call}, for what may be repeated: goes on through short outages. */
  insist<T>(
    operation: string,
    work: (line: QueueLine, timeoutMs: number) => Promise<T>,
    isWanted: () => boolean,
  ): Promise<T> {
    const attempt = (timeoutMs: number): Promise<T> => this.#on(timeoutMs, work)
    return this.#calls.insist(operation, attempt, isWanted)
  }

  /** As {@link insist}. A consumer that comes after its call was given up is closed. */
  async consume(options: ConsumeOptions, receiver: JobReceiver, isWanted: () => boolean): Promise<Consumer> {
    const arrived = new Set<Consumer>()
    let isOver = false
    const attempt = async (line: QueueLine, timeoutMs: number): Promise<Consumer> => {
      const consumer = await line.consume(options, receiver, timeoutMs)
      if (isOver) await consumer.close()
      else arrived.add(consumer)
      return consumer
    }
    try {
      const consumer = await this.insist('process', attempt, isWanted)
      arrived.delete(consumer)
      return consumer
    } finally {
      isOver = true
      await Promise.all([...arrived].map((consumer) => consumer.close()))
    }
  }

  #on<T>(timeoutMs: number, work: (line: QueueLine, timeoutMs: number) => Promise<T>): Promise<T> {
    // Without a detour once it is open: that would cost as much as the rest of a call.
    if (this.#opened !== undefined) return work(this.#opened, timeoutMs)
    return this.#open(timeoutMs).then((line) => work(line, timeoutMs))
  }

  #open(timeoutMs: number): Promise<QueueLine> {
    this.#line ??= this.#driver.open(this.#definition, timeoutMs).then(
      (line) => {
        this.#opened = line
        return line
      },
      (error: unknown) => {
        this.#line = undefined
        throw error
      },
    )
    return this.#line
  }
}
