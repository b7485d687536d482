import type { Closable } from '@multinode/core'
import type { Channel, ChannelModel } from 'amqplib'
import { type ConsumeOptions, Consumer, type Delivery } from './consumer.ts'
import type { Link, LinkState } from './link.ts'
import { Publisher, type PublisherOptions } from './publisher.ts'
import { openPlain, SupervisedChannel } from './supervised-channel.ts'

export interface ChannelOptions {
  /** For errors. */
  readonly name: string
  readonly prefetch?: number
  /** Run on each new channel before it is used: topology. */
  readonly setup?: (channel: Channel) => Promise<void>
}

/** `blocked`: the server takes no messages, because it lacks memory or disk; consuming goes on. */
export type ConnectionState = LinkState

/**
 * Two AMQP connections to one server, one that publishes and one for all else: a server that lacks memory stops reading from those that publish, and
 * would not see the acks of consumers on the same one. Each is made anew for ever, with all that was on it.
 */
export class RabbitmqConnection implements Closable {
  readonly address: string
  readonly #consuming: Link
  readonly #publishing: Link
  readonly #ping: SupervisedChannel
  readonly #listeners = new Set<(state: ConnectionState) => void>()
  #lastStatus: ConnectionState['status'] = 'down'
  #closing: Promise<void> | undefined

  constructor(links: { readonly consuming: Link; readonly publishing: Link }) {
    this.#consuming = links.consuming
    this.#publishing = links.publishing
    this.address = links.consuming.address
    this.#ping = this.channel({ name: 'the connection' })
  }

  /** As amqplib made it, for all but publishing; `undefined` while it is down. A reconnect replaces it. */
  get native(): ChannelModel | undefined {
    return this.#consuming.current?.model
  }

  get state(): ConnectionState {
    const [first, second] = [this.#consuming.state, this.#publishing.state]
    const worst = (['down', 'blocked'] as const).flatMap((status) =>
      [first, second].filter((each) => each.status === status),
    )
    return worst[0] ?? { ...first, sinceMs: Math.max(first.sinceMs, second.sinceMs) }
  }

  /** Calls `listener` whenever the status changes, until the returned function is called. It may not throw. */
  onState(listener: (state: ConnectionState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** A channel of its own for work that is not publishing: topology, single messages. */
  channel({ name, prefetch, setup }: ChannelOptions): SupervisedChannel {
    const channel = new SupervisedChannel<Channel>({
      link: this.#consuming,
      name,
      rank: 0,
      open: openPlain,
      setup: async (live) => {
        if (prefetch !== undefined) await live.channel.prefetch(prefetch)
        await setup?.(live.channel)
      },
    })
    this.#consuming.add(channel)
    return channel
  }

  /** A subscription on a channel of its own. */
  consume(options: ConsumeOptions, onDelivery: (delivery: Delivery) => void | Promise<void>): Consumer {
    return new Consumer(this.#consuming, options, onDelivery)
  }

  /** Publishes on a channel of its own. */
  publisher(options: PublisherOptions = {}): Publisher {
    return new Publisher(this.#publishing, options)
  }

  /** One round trip on the connection that consumes. */
  async ping(timeoutMs: number): Promise<void> {
    const { clock } = this.#consuming.context
    const startedAtMs = clock.monotonicMs()
    // The last one may have cost its channel. While the connection is down it is refused at once.
    if (this.#consuming.state.status !== 'down') await this.#ping.whenReady(timeoutMs)
    const leftMs = Math.max(1, timeoutMs - (clock.monotonicMs() - startedAtMs))
    await this.#ping.run('a ping', leftMs, (channel) => channel.prefetch(1))
  }

  /** What both connections tell when they change. */
  changed(): void {
    const { state } = this
    if (state.status === this.#lastStatus) return
    this.#lastStatus = state.status
    for (const listener of this.#listeners) listener(state)
  }

  /** Idempotent. Settles all that is pending with `CLOSED`; a dead server delays it by about a third of a second. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.all([this.#consuming.close(), this.#publishing.close()])
    this.#listeners.clear()
  }
}
