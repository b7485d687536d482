import { MultinodeError } from '../errors/multinode-error.ts'
import type { Clock } from '../runtime/clock.ts'
import type { CounterDriver } from './cache-driver.ts'

interface Counter {
  value: number
  readonly untilMs: number
}

const defaultMost = 100_000

/** The counters of one cluster name in this process. None is forgotten before its time, so when there are too many no further one is made. */
export class MemoryCounters implements CounterDriver {
  readonly #clock: Clock
  readonly #most: number
  readonly #counters = new Map<string, Counter>()

  constructor(clock: Clock, most: number = defaultMost) {
    this.#clock = clock
    this.#most = most
  }

  async increment(name: string, by: number, ttlMs: number | undefined): Promise<number> {
    const known = this.#existing(name)
    const value = (known?.value ?? 0) + by
    if (!Number.isSafeInteger(value)) throw outOfRange(name, known?.value ?? 0, by)
    if (known === undefined)
      this.#make(name, { value, untilMs: this.#clock.monotonicMs() + (ttlMs ?? Infinity) })
    else known.value = value
    return value
  }

  async get(name: string): Promise<number> {
    return this.#existing(name)?.value ?? 0
  }

  async reset(name: string): Promise<void> {
    this.#counters.delete(name)
  }

  #existing(name: string): Counter | undefined {
    const counter = this.#counters.get(name)
    return counter !== undefined && counter.untilMs > this.#clock.monotonicMs() ? counter : undefined
  }

  #make(name: string, counter: Counter): void {
    this.#counters.delete(name)
    if (this.#counters.size >= this.#most) this.#sweep()
    if (this.#counters.size >= this.#most) {
      throw new MultinodeError(
        'EXHAUSTED',
        `cache on memory: there are ${this.#most} counters; ${JSON.stringify(name)} was not made. Give counters a ttl, or use a backend that is not this process.`,
        { capability: 'cache', backend: 'memory', outcome: 'not-sent' },
      )
    }
    this.#counters.set(name, counter)
  }

  #sweep(): void {
    for (const name of this.#counters.keys()) {
      if (this.#existing(name) === undefined) this.#counters.delete(name)
    }
  }
}

function outOfRange(name: string, value: number, by: number): MultinodeError {
  return new MultinodeError(
    'REJECTED',
    `cache on memory: the counter ${JSON.stringify(name)} is ${value}; with ${by} more it would leave the safe integers.`,
    { capability: 'cache', backend: 'memory', outcome: 'not-sent', details: { name } },
  )
}
