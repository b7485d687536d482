import type { RabbitmqConnection } from '@multinode/connection-rabbitmq'
import type { Clock } from '@multinode/core'
import type { Channel, Message } from 'amqplib'
import { countdown } from './countdown.ts'

export interface Reading {
  readonly connection: RabbitmqConnection
  readonly clock: Clock
  readonly queue: string
  /** How many are on their way at once. */
  readonly prefetch: number
  readonly timeoutMs: number
}

/** Looks at the messages of a queue. Those that are not removed are there again afterwards, in whatever order. */
export async function readQueue<T>(
  { connection, clock, queue, prefetch, timeoutMs }: Reading,
  work: (reader: QueueReader) => Promise<T>,
): Promise<T> {
  const leftMs = countdown(clock, timeoutMs)
  // Its close is what puts them back.
  const channel = connection.channel({ name: `a look into ${queue}`, prefetch })
  try {
    await channel.whenReady(timeoutMs)
    return await channel.run('reading', leftMs(), async (each) => {
      const reader = new QueueReader(each, queue)
      await reader.begin()
      const result = await work(reader)
      await reader.settled()
      return result
    })
  } finally {
    await channel.close()
  }
}

export class QueueReader {
  readonly #channel: Channel
  readonly #queue: string
  readonly #arrived: Message[] = []
  #taken = 0
  #hasRemoved = false

  constructor(channel: Channel, queue: string) {
    this.#channel = channel
    this.#queue = queue
  }

  async begin(): Promise<void> {
    await this.#channel.consume(this.#queue, (message) => {
      if (message !== null) this.#arrived.push(message)
    })
  }

  /** `undefined` when none is left that waits. */
  async next(): Promise<Message | undefined> {
    // What comes by itself comes in bulk, but does not say when it ends.
    for (let emptyAnswers = 0; emptyAnswers < 2 && this.#taken === this.#arrived.length;) {
      const message = await this.#channel.get(this.#queue)
      if (message === false) emptyAnswers += 1
      else this.#arrived.push(message)
    }
    const message = this.#arrived[this.#taken]
    this.#taken += message === undefined ? 0 : 1
    if (this.#taken === this.#arrived.length) {
      this.#arrived.length = 0
      this.#taken = 0
    }
    return message
  }

  remove(message: Message): void {
    this.#hasRemoved = true
    this.#channel.ack(message)
  }

  /**
   * Resolves when what was removed is gone. A channel of RabbitMQ keeps acks to itself while many are under way to a quorum queue, and a close forgets them; two
   * answers of the queue later all have left.
   */
  async settled(): Promise<void> {
    for (let answers = 0; this.#hasRemoved && answers < 2; answers += 1) await this.#channel.get(this.#queue)
  }
}
