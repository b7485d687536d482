import type { OutgoingMessage, Publisher } from '@multinode/connection-rabbitmq'
import { type Clock, isMultinodeError, type MultinodeError, pause } from '@multinode/core'

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
  #isClosed = false

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
        if (!isRefusal(error)) throw error
        const pauseMs = pausesMs[refusals] ?? Infinity
        const isFull = this.#clock.monotonicMs() < this.#fullUntilMs
        if (pauseMs === Infinity) this.#fullUntilMs = this.#clock.monotonicMs() + fullMs
        if (isFull || this.#isClosed || pauseMs >= leftMs()) throw error
        await pause(this.#clock, pauseMs)
        this.#replace(publisher)
      }
    }
  }

  /** Settles what is pending with `CLOSED`. */
  async close(): Promise<void> {
    this.#isClosed = true
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
    if (this.#current !== refusing || this.#isClosed) return
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
