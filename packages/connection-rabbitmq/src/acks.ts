import type { Channel, ConsumeMessage } from 'amqplib'

/** What becomes of the deliveries of one channel: acks of one turn of the event loop leave together, because a frame says as much of many as of one. */
export class Acks {
  readonly #channel: Channel
  /** Delivered and not settled, in order. */
  readonly #open = new Set<number>()
  #done: ConsumeMessage[] = []

  constructor(channel: Channel) {
    this.#channel = channel
  }

  open({ fields }: ConsumeMessage): void {
    this.#open.add(fields.deliveryTag)
  }

  ack(message: ConsumeMessage): void {
    this.#open.delete(message.fields.deliveryTag)
    if (this.#done.length === 0) setImmediate(() => this.flush())
    this.#done.push(message)
  }

  /** @throws when the channel is closing */
  nack(message: ConsumeMessage, requeue: boolean): void {
    this.#open.delete(message.fields.deliveryTag)
    this.#channel.nack(message, false, requeue)
  }

  flush(): void {
    const done = this.#done
    this.#done = []
    const [lowest = Infinity] = this.#open
    let last: ConsumeMessage | undefined
    try {
      for (const message of done) {
        const { deliveryTag } = message.fields
        if (deliveryTag > lowest) this.#channel.ack(message)
        else if (last === undefined || deliveryTag > last.fields.deliveryTag) last = message
      }
      // All up to it were settled: they, and it, are one frame.
      if (last !== undefined) this.#channel.ack(last, true)
    } catch {
      // The channel is closing: what it delivered comes again.
    }
  }
}
