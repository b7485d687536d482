import { isDeepStrictEqual } from 'node:util'
import { MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { checkKey } from '../runtime/check.ts'
import { Queue } from './queue.ts'
import type { QueueDriver } from './queue-driver.ts'
import { type QueueOptions, readQueueOptions } from './queue-options.ts'
import { type QueueStats, zeroStats } from './queue-stats.ts'

/** All queues of one cluster object, by name. */
export class Queues {
  readonly #driver: QueueDriver
  readonly #context: CapabilityContext
  readonly #queues = new Map<string, Queue>()
  readonly #stats: QueueStats = zeroStats()
  #isDraining = false
  #isClosed = false

  constructor(driver: QueueDriver, context: CapabilityContext) {
    this.#driver = driver
    this.#context = context
  }

  /** The driver underneath, with its typed `native` client. */
  get driver(): QueueDriver {
    return this.#driver
  }

  /**
   * The queue of that name. No round trip: the first call of one of its methods makes it at the backend.
   *
   * @param name 1 to 1,024 characters of any kind
   * @throws `ALREADY_EXISTS` when this cluster object has it with other options
   */
  open<T = unknown>(name: string, options: QueueOptions<T> = {}): Queue<T> {
    checkKey('name', name)
    const settings = readQueueOptions(options)
    const known = this.#queues.get(name)
    if (known !== undefined && !isDeepStrictEqual(known.settings, settings)) throw otherOptions(name)
    // The app says what its payloads are, once for each place where it asks.
    if (known !== undefined) return known as Queue<T>
    const queue = new Queue<T>({
      name,
      driver: this.#driver,
      settings,
      context: this.#context,
      stats: this.#stats,
      checkOpen: (operation) => this.#checkOpen(name, operation),
    })
    this.#queues.set(name, queue as Queue)
    return queue
  }

  /** Counters since start. */
  stats(): QueueStats & { readonly running: number } {
    const running = [...this.#queues.values()].reduce((sum, queue) => sum + queue.running, 0)
    return { ...this.#stats, running }
  }

  /** Takes no further jobs, and waits for those that run. Jobs can still be added, because what else drains may add some. */
  async drain(deadlineMs: number): Promise<string[]> {
    this.#isDraining = true
    const left = await Promise.all(
      [...this.#queues.values()].map(async (queue) => ({
        name: queue.name,
        running: await queue.stop(deadlineMs),
      })),
    )
    return left.filter(({ running }) => running > 0).map(({ name, running }) => `${name}: ${running} running`)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()))
  }

  #checkOpen(name: string, operation: string): void {
    if (!this.#isClosed && !(this.#isDraining && operation === 'process')) return
    throw new MultinodeError(
      'CLOSED',
      `queue: ${operation} of ${name}: the cluster object ${this.#isClosed ? 'was closed' : 'drains'}.`,
      { capability: 'queue', outcome: 'not-sent' },
    )
  }
}

function otherOptions(name: string): MultinodeError {
  return new MultinodeError(
    'ALREADY_EXISTS',
    `The queue ${name} was made with other options before: make it in one place, and pass it on.`,
    { capability: 'queue', details: { name } },
  )
}
