import { MultinodeError } from '@multinode/core'
import type { Channel, ConsumeMessage } from 'amqplib'
import { Acks } from './acks.ts'
import type { Link } from './link.ts'
import { type LiveChannel, openPlain, SupervisedChannel } from './supervised-channel.ts'

export interface ConsumeOptions {
  readonly queue: string
  /** How many deliveries may be unsettled. */
  readonly prefetch: number
  readonly exclusive?: boolean
  readonly noAck?: boolean
  /** Run on each new channel before it consumes: topology. */
  readonly setup?: (channel: Channel) => Promise<void>
  /** The arguments of each attachment, asked for anew: a stream goes on from another offset. */
  readonly args?: () => Readonly<Record<string, unknown>> | Promise<Readonly<Record<string, unknown>>>
  /** After each attachment, and each loss with its reason. None of them may throw. */
  readonly onAttached?: () => void
  readonly onDetached?: (error: MultinodeError) => void
}

/** One message, which can be settled once, and only on the channel that delivered it. */
export interface Delivery {
  readonly message: ConsumeMessage
  /** Whether it can still be settled: after its channel was lost the server delivers it anew. */
  readonly isCurrent: boolean
  /**
   * Whether it is sent: a second time, or to another channel than that of the delivery, it never is. Those of one turn of the event loop leave at its end, as few
   * frames as say it.
   */
  ack(): boolean
  /** Sent at once. */
  nack(options?: { readonly requeue?: boolean }): boolean
}

/** A subscription to a queue that is attached again, with back-off, whenever it was lost. */
export class Consumer {
  readonly #link: Link
  readonly #options: ConsumeOptions
  readonly #onDelivery: (delivery: Delivery) => void | Promise<void>
  readonly #channel: SupervisedChannel
  #tag: string | undefined
  #acks: Acks | undefined
  #isStopped = false
  #staleSettles = 0

  constructor(link: Link, options: ConsumeOptions, onDelivery: (delivery: Delivery) => void | Promise<void>) {
    this.#link = link
    this.#options = options
    this.#onDelivery = onDelivery
    this.#channel = new SupervisedChannel({
      link,
      name: `the consumer of ${options.queue}`,
      rank: 1,
      open: openPlain,
      setup: (live) => this.#attach(live),
      onLive: () => this.#onLive(),
      onLost: (error) => options.onDetached?.(error),
      onClosing: () => this.#acks?.flush(),
    })
    link.add(this.#channel)
  }

  get isAttached(): boolean {
    return this.#channel.live !== undefined && !this.#isStopped
  }

  /** How often a delivery was settled after its channel was lost, which was not sent. */
  get staleSettles(): number {
    return this.#staleSettles
  }

  /** Resolves once it is attached; rejects with what failed last, at the deadline, or at once when that is not worth a retry. */
  whenAttached(timeoutMs: number): Promise<void> {
    return this.#channel.whenReady(timeoutMs)
  }

  /** No more deliveries; those that came can still be settled, until the close. */
  async stop(timeoutMs: number): Promise<void> {
    this.#isStopped = true
    const tag = this.#tag
    if (tag === undefined || this.#channel.live === undefined) return
    this.#tag = undefined
    await this.#channel.run('cancelling the consumer', timeoutMs, (channel) => channel.cancel(tag))
  }

  /** Undoes a {@link stop} that has resolved. While the channel is away nothing has to be done: it consumes when it is back. */
  async resume(timeoutMs: number): Promise<void> {
    this.#isStopped = false
    const { live } = this.#channel
    if (live === undefined || this.#tag !== undefined) return
    await this.#channel.run('consuming', timeoutMs, () => this.#consume(live))
  }

  /** Idempotent. What is not settled goes back into the queue. */
  close(): Promise<void> {
    this.#isStopped = true
    return this.#channel.close()
  }

  async #attach(live: LiveChannel<Channel>): Promise<void> {
    const { prefetch, setup } = this.#options
    const { channel } = live
    this.#tag = undefined
    this.#acks = new Acks(channel)
    await channel.prefetch(prefetch)
    await setup?.(channel)
    await this.#consume(live)
  }

  async #consume(live: LiveChannel<Channel>): Promise<void> {
    const { queue, exclusive = false, noAck = false, args } = this.#options
    const acks = this.#acks
    const given = await args?.()
    if (this.#isStopped || acks === undefined) return
    const onMessage = (message: ConsumeMessage | null): void => this.#receive(live, acks, message)
    const consuming = { exclusive, noAck, ...(given !== undefined && { arguments: given }) }
    this.#tag = (await live.channel.consume(queue, onMessage, consuming)).consumerTag
  }

  /** What was wished while it was being set up. */
  #onLive(): void {
    const { callTimeoutMs, report } = this.#link.context
    const isAsWished = (this.#tag === undefined) === this.#isStopped
    if (!isAsWished) {
      const change = this.#isStopped ? this.stop(callTimeoutMs) : this.resume(callTimeoutMs)
      change.catch(report)
    }
    this.#options.onAttached?.()
  }

  #receive(live: LiveChannel<Channel>, acks: Acks, message: ConsumeMessage | null): void {
    if (live.isDead || this.#channel.isClosed) return
    if (message === null) return this.#onCancelled(live)
    try {
      const handled = this.#onDelivery(this.#toDelivery(live, acks, message))
      if (handled instanceof Promise) handled.catch((error: unknown) => this.#link.context.report(error))
    } catch (error) {
      this.#link.context.report(error)
    }
  }

  /** The server does so when the queue is deleted, or has lost its leader. */
  #onCancelled(live: LiveChannel<Channel>): void {
    const error = new MultinodeError(
      'UNAVAILABLE',
      `RabbitMQ at ${this.#link.address}: the server cancelled the consumer of ${this.#options.queue}. ` +
        'It is attached again in the background.',
      { backend: 'rabbitmq' },
    )
    this.#link.context.report(error)
    this.#channel.recycle(live, error)
  }

  #toDelivery(live: LiveChannel<Channel>, acks: Acks, message: ConsumeMessage): Delivery {
    let isSettled = this.#options.noAck === true
    if (!isSettled) acks.open(message)
    const settle = (send: () => void): boolean => {
      if (isSettled) return false
      isSettled = true
      if (!live.isDead) {
        try {
          send()
          return true
        } catch {
          // amqplib refuses on a channel that closes: it is stale, too.
        }
      }
      this.#staleSettles += 1
      return false
    }
    return {
      message,
      get isCurrent() {
        return !isSettled && !live.isDead
      },
      ack: () => settle(() => acks.ack(message)),
      nack: ({ requeue = true } = {}) => settle(() => acks.nack(message, requeue)),
    }
  }
}
