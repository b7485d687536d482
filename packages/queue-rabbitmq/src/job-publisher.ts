import type { OutgoingMessage, Publisher } from '@multinode/connection-rabbitmq'
import { type Clock, isMultinodeError, type MultinodeError, pause } from '@multinode/core'
import { unsure } from './with-outcome.ts'

/** After which a refused job is sent again: queues have another leader within a second or two. */
const pausesMs: readonly number[] = [250, 750, 1_500]
/** How long a queue counts as full after one job was refused each time. */
const fullMs = 1_000

/**
 * Publishes the jobs of one queue. RabbitMQ refuses not only what is too much for a queue: a channel that is opened while the leader of the queue is dead, and no other one known, refuses all for that
 * queue as long as it lives, although the queue is well again within a second. So what was refused is sent again on another channel.
 */
export class JobPublisher {
  readonly #open: () => Publisher
  readonly #clock: Clock
  #current: Publisher
  /** How many jobs each one has under way. */
  readonly #underWay = new Map<Publisher, number>()
  #fullUntilMs = -Infinity
  readonly #closing = new AbortController()

  constructor(clock: Clock, open: () => Publisher) {
    this.#clock = clock
    this.#open = open
    this.#current = open()
  }

  async publish(message: OutgoingMessage, leftMs: () => number): Promise<void> {
    for (let refusals = 0; ; refusals += 1) {
      const publisher = this.#current
      try {
        await this.#publishOn(publisher, message, leftMs())
        return
      } catch (error) {
        if (!isRefusal(error)) throw refusals > 0 ? unsure(error) : error
        const pauseMs = pausesMs[refusals] ?? Infinity
        const isFull = this.#clock.monotonicMs() < this.#fullUntilMs
        if (pauseMs === Infinity) this.#fullUntilMs = this.#clock.monotonicMs() + fullMs
        if (isFull || this.#closing.signal.aborted || pauseMs >= leftMs()) throw error
        await this.pause(pauseMs)
        this.#replace(publisher)
      }
    }
  }

  /** Ends early when it is closed. */
  pause(ms: number): Promise<void> {
    return pause(this.#clock, ms, this.#closing.signal)
  }

  /** Settles what is pending with `CLOSED`. */
  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.all([this.#current, ...this.#underWay.keys()].map((publisher) => publisher.close()))
  }

  async #publishOn(publisher: Publisher, message: OutgoingMessage, timeoutMs: number): Promise<void> {
    this.#underWay.set(publisher, (this.#underWay.get(publisher) ?? 0) + 1)
    try {
      await publisher.publish(message, timeoutMs)
    } finally {
      const left = (this.#underWay.get(publisher) ?? 0) - 1
      if (left > 0) this.#underWay.set(publisher, left)
      else this.#underWay.delete(publisher)
      this.#closeIfDone(publisher)
    }
  }

  /** Once for all that it refused. */
  #replace(refusing: Publisher): void {
    if (this.#current !== refusing || this.#closing.signal.aborted) return
    this.#current = this.#open()
    this.#closeIfDone(refusing)
  }

  #closeIfDone(publisher: Publisher): void {
    if (publisher !== this.#current && !this.#underWay.has(publisher)) void publisher.close()
  }
}

function isRefusal(error: unknown): error is MultinodeError {
  return isMultinodeError(error) && error.code === 'REJECTED'
}
