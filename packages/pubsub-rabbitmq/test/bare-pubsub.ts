import { setTimeout as sleep } from 'node:timers/promises'
import { SetChecker, waitUntil } from '@multinode/testbed'
import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib'

/**
 * The control: publishing with confirms, and a consumer with a queue of its own that goes with its connection. Both are connected again whenever their
 * connection broke.
 */
export class BarePubSub implements AsyncDisposable {
  readonly checker = new SetChecker()
  /** Publishes the next signal. */
  readonly publish: () => Promise<void>
  readonly #models = new Set<ChannelModel>()
  #channel: ConfirmChannel | undefined
  #subscriptions = 0
  #isEnded = false

  private constructor(exchange: string) {
    this.publish = this.checker.publisher(async (mark) => {
      await confirmed(this.#channel, exchange, Buffer.from(JSON.stringify(mark)))
      return { status: 'sent' }
    })
  }

  /** @param faulty where the consumer connects */
  static async start(exchange: string, url: string, faulty: string): Promise<BarePubSub> {
    const bare = new BarePubSub(exchange)
    const witness = bare.checker.subscriber()
    void bare.#keep(url, async (model) => {
      const channel = await model.createConfirmChannel()
      channel.on('error', () => {})
      await channel.assertExchange(exchange, 'fanout')
      bare.#channel = channel
    })
    void bare.#keep(faulty, async (model) => {
      const channel = await model.createChannel()
      channel.on('error', () => {})
      await channel.assertExchange(exchange, 'fanout')
      const { queue } = await channel.assertQueue('', { exclusive: true, autoDelete: true })
      await channel.bindQueue(queue, exchange, '')
      await channel.consume(queue, (message) => witness.saw(JSON.parse(String(message?.content))), {
        noAck: true,
      })
      bare.#subscriptions += 1
    })
    await waitUntil('the control', () => bare.#channel !== undefined && bare.#subscriptions > 0)
    return bare
  }

  /** How many were lost. */
  get lost(): number {
    return this.checker.findings().reduce((sum, { silent }) => sum + silent, 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnded = true
    await Promise.all([...this.#models].map((model) => model.close().catch(() => {})))
  }

  async #keep(url: string, use: (model: ChannelModel) => Promise<void>): Promise<void> {
    while (!this.#isEnded) {
      try {
        const model = await connect(url)
        const closed = new Promise((resolve) => model.on('close', resolve))
        model.on('error', () => {})
        this.#models.add(model)
        if (this.#isEnded) await model.close()
        await use(model)
        await closed
        this.#models.delete(model)
      } catch {
        // It is tried again.
      }
      await sleep(20)
    }
  }
}

function confirmed(channel: ConfirmChannel | undefined, exchange: string, content: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    if (channel === undefined) throw new Error('not connected')
    channel.publish(exchange, '', content, {}, (error: unknown) => {
      if (error === null) resolve()
      else reject(new Error('not confirmed', { cause: error }))
    })
  })
}
