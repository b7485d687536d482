import { randomUUID } from 'node:crypto'
import { MultinodeError, type Outcome, type Timer } from '@multinode/core'
import type { ConfirmChannel, Message, Options } from 'amqplib'
import type { Link } from './link.ts'
import { headerBytes } from './message-size.ts'
import { isNack, toRabbitmqError } from './rabbitmq-errors.ts'
import { type LiveChannel, openConfirming, refusal, SupervisedChannel } from './supervised-channel.ts'

/** Beyond it amqplib refuses headers; the rest of a frame is for the other properties. */
const mostHeaderBytes = 60_000
/** What the server calls the exchange without a name. */
const defaultExchange = 'amq.default'

export interface PublisherOptions {
  /** For errors. */
  readonly name?: string
  /** Run on each new channel before anything is sent on it: topology. */
  readonly setup?: (channel: ConfirmChannel) => Promise<void>
  /** How many messages may wait for their confirm or for a connection. Default 10,000. */
  readonly maxUnconfirmed?: number
  /** How many bytes of content. Default 8 MiB. */
  readonly maxBytes?: number
  /** The longest content of one message. Default 1 MiB. */
  readonly maxMessageBytes?: number
  /** Within which every message is settled. Default: the deadline of a call. */
  readonly confirmTimeoutMs?: number
}

export interface OutgoingMessage {
  readonly exchange: string
  readonly routingKey: string
  readonly content: Buffer
  /** Without a `messageId` it gets a random one; a message that is sent again keeps it. */
  readonly options?: Options.Publish
}

interface Entry {
  readonly message: OutgoingMessage
  readonly options: Options.Publish
  readonly dueMs: number
  readonly resolve: () => void
  readonly reject: (error: MultinodeError) => void
  /** Where it was sent last. */
  live: LiveChannel<ConfirmChannel> | undefined
  wasSent: boolean
  isReturned: boolean
}

/**
 * Publishes with confirms. Messages leave in the order of the calls; those that were not confirmed when a channel was lost are sent again, in the
 * same order and before later ones, until their deadline. So each arrives at least once, or the caller is told.
 */
export class Publisher {
  readonly #link: Link
  readonly #name: string
  readonly #channel: SupervisedChannel<ConfirmChannel>
  readonly #maxUnconfirmed: number
  readonly #maxBytes: number
  readonly #maxMessageBytes: number
  readonly #confirmTimeoutMs: number
  readonly #entries = new Set<Entry>()
  #unsent: Entry[] = []
  #nextUnsent = 0
  #bytes = 0
  #isFull = false
  #timer: Timer | undefined
  #timerDueMs = Infinity

  constructor(link: Link, options: PublisherOptions) {
    const { name = 'the publisher', setup } = options
    this.#link = link
    this.#name = name
    this.#maxUnconfirmed = options.maxUnconfirmed ?? 10_000
    this.#maxBytes = options.maxBytes ?? 8 * 1_048_576
    this.#maxMessageBytes = options.maxMessageBytes ?? 1_048_576
    this.#confirmTimeoutMs = options.confirmTimeoutMs ?? link.context.callTimeoutMs
    this.#channel = new SupervisedChannel<ConfirmChannel>({
      link,
      name,
      rank: 2,
      open: openConfirming,
      setup: async ({ channel }) => setup?.(channel),
      onLive: () => this.#pump(),
      onLost: (error, live) => this.#onLost(error, live),
      onReturn: (live, returned) => this.#onReturn(live, returned),
      onDrain: (live) => this.#onDrain(live),
      onUnblocked: () => this.#pump(),
      onClosed: () => this.#onClosed(),
    })
    link.add(this.#channel)
  }

  /** How many messages wait for their confirm or for a connection. */
  get unconfirmed(): number {
    return this.#entries.size
  }

  /** Resolves once its channel is set up. */
  whenReady(timeoutMs: number): Promise<void> {
    return this.#channel.whenReady(timeoutMs)
  }

  /**
   * Resolves when the server has the message. While the connection is down or blocked it waits in a bounded buffer; beyond it `EXHAUSTED`.
   * Rejects with `NOT_FOUND` when it is `mandatory` and no queue takes it, `REJECTED` when the server does not take it, `TOO_LARGE`,
   * `TIMEOUT` at the deadline, with the truth as `outcome`.
   */
  publish(message: OutgoingMessage, timeoutMs: number = this.#confirmTimeoutMs): Promise<void> {
    const refused = this.#refusalOf(message)
    if (refused !== undefined) return refusal(refused)
    return new Promise((resolve, reject) => {
      const dueMs = this.#link.context.clock.monotonicMs() + timeoutMs
      const options = { ...message.options, messageId: message.options?.messageId ?? randomUUID() }
      const entry = {
        message,
        options,
        dueMs,
        resolve,
        reject,
        live: undefined,
        wasSent: false,
        isReturned: false,
      }
      this.#entries.add(entry)
      this.#bytes += message.content.length
      this.#unsent.push(entry)
      this.#wakeBy(dueMs)
      this.#pump()
    })
  }

  /** Idempotent; settles what is pending with `CLOSED`. */
  close(): Promise<void> {
    return this.#channel.close()
  }

  #refusalOf({ content, options, routingKey, exchange }: OutgoingMessage): MultinodeError | undefined {
    if (this.#channel.isClosed) return this.#channel.closedError('publishing', 'not-sent')
    if (content.length > this.#maxMessageBytes) {
      return this.#error(
        'TOO_LARGE',
        `the message has ${content.length} bytes, more than ${this.#maxMessageBytes}`,
      )
    }
    const headers: unknown = options?.headers ?? {}
    const bytes = headerBytes(headers)
    const mostBytes = Math.min(mostHeaderBytes, this.#link.frameMaxBytes - 2_048)
    if (bytes > mostBytes)
      return this.#error('TOO_LARGE', `the headers have ${bytes} bytes, more than ${mostBytes}`)
    if (Buffer.byteLength(routingKey) > 255 || Buffer.byteLength(exchange) > 255) {
      return this.#error('INVALID_ARGUMENT', 'exchange and routing key have 255 bytes at most')
    }
    if (this.#entries.size < this.#maxUnconfirmed && this.#bytes + content.length <= this.#maxBytes)
      return undefined
    const { status, reason } = this.#link.state
    const why =
      status === 'up' ? 'the server confirms too slowly' : `the connection is ${status}: ${String(reason)}`
    return this.#error(
      'EXHAUSTED',
      `${this.#entries.size} messages with ${this.#bytes} bytes wait already, because ${why}`,
    )
  }

  #error(code: 'TOO_LARGE' | 'EXHAUSTED' | 'INVALID_ARGUMENT', reason: string): MultinodeError {
    return new MultinodeError(code, `RabbitMQ at ${this.#link.address}: ${this.#name} refuses: ${reason}.`, {
      backend: 'rabbitmq',
      outcome: 'not-sent',
    })
  }

  /** What may be sent is sent, in order. */
  #pump(): void {
    const { live } = this.#channel
    while (live !== undefined && !live.isDead && !this.#isFull && this.#link.state.status !== 'blocked') {
      const entry = this.#unsent[this.#nextUnsent]
      if (entry === undefined) break
      this.#nextUnsent += 1
      if (this.#entries.has(entry) && !this.#send(entry, live)) break
    }
    if (this.#nextUnsent < 1_000 && this.#nextUnsent < this.#unsent.length) return
    this.#unsent = this.#unsent.slice(this.#nextUnsent)
    this.#nextUnsent = 0
  }

  /** @returns whether the channel goes on */
  #send(entry: Entry, live: LiveChannel<ConfirmChannel>): boolean {
    const { exchange, routingKey, content } = entry.message
    entry.isReturned = false
    try {
      const onConfirm = (error: unknown): void => this.#onConfirm(entry, live, error)
      this.#isFull = !live.channel.publish(exchange, routingKey, content, entry.options, onConfirm)
      entry.live = live
      entry.wasSent = true
      return true
    } catch (error) {
      // The channel is closing: it is sent on the next one.
      if (error instanceof Error && error.name === 'IllegalOperationError') {
        this.#nextUnsent -= 1
        return false
      }
      this.#settle(entry, this.#failure(entry, error))
      return true
    }
  }

  #onConfirm(entry: Entry, live: LiveChannel<ConfirmChannel>, error: unknown): void {
    if (entry.live !== live) return
    if (isNack(error)) {
      return this.#settle(
        entry,
        new MultinodeError(
          'REJECTED',
          `RabbitMQ at ${this.#link.address}: the server did not take a message of ${this.#name} (nack). Its queue may be full or failing.`,
          { backend: 'rabbitmq', outcome: 'unknown', details: { messageId: entry.options.messageId } },
        ),
      )
    }
    // The channel was lost: it is sent again.
    if (error !== null) return
    if (!entry.isReturned) return this.#settle(entry, undefined)
    const { exchange, routingKey } = entry.message
    this.#settle(
      entry,
      new MultinodeError(
        'NOT_FOUND',
        `RabbitMQ at ${this.#link.address}: no queue takes messages of exchange ${JSON.stringify(exchange)} with routing key ` +
          `${JSON.stringify(routingKey)}. Declare and bind one.`,
        { backend: 'rabbitmq', outcome: 'not-sent', details: { exchange, routingKey } },
      ),
    )
  }

  /** Comes before the confirm of the same message. */
  #onReturn(live: LiveChannel<ConfirmChannel>, { properties }: Message): void {
    const id: unknown = properties.messageId
    for (const entry of this.#entries) {
      if (entry.live !== live || entry.options.messageId !== id || entry.isReturned) continue
      entry.isReturned = true
      return
    }
  }

  #onDrain(live: LiveChannel<ConfirmChannel>): void {
    if (live !== this.#channel.live) return
    this.#isFull = false
    this.#pump()
  }

  #onLost(error: MultinodeError, live: LiveChannel<ConfirmChannel>): void {
    this.#isFull = false
    if (live.error !== undefined) this.#rejectCulprits(live.error, live)
    this.#unsent = [...this.#entries]
    this.#nextUnsent = 0
    for (const entry of this.#entries) entry.live = undefined
  }

  #onClosed(): void {
    this.#timer?.cancel()
    for (const entry of this.#entries) {
      this.#settle(entry, this.#channel.closedError('publishing', outcomeOf(entry)))
    }
  }

  /** A message for which the server closes the channel would do so again and again, at the cost of all others. */
  #rejectCulprits(error: Error, live: LiveChannel<ConfirmChannel>): void {
    const [, named] = /exchange '(.*?)' in vhost/.exec(error.message) ?? []
    const exchange = named === defaultExchange ? '' : named
    const [, bytes] = /message size (\d+)/.exec(error.message) ?? []
    for (const entry of this.#entries) {
      const isCulprit =
        entry.live === live &&
        (entry.message.exchange === exchange || String(entry.message.content.length) === bytes)
      if (isCulprit) this.#settle(entry, this.#failure(entry, error))
    }
  }

  #failure(entry: Entry, error: unknown): MultinodeError {
    const { exchange } = entry.message
    const operation = `publishing to exchange ${JSON.stringify(exchange)}`
    return toRabbitmqError(error, { address: this.#link.address, operation, outcome: outcomeOf(entry) })
  }

  #settle(entry: Entry, error: MultinodeError | undefined): void {
    if (!this.#entries.delete(entry)) return
    this.#bytes -= entry.message.content.length
    if (error === undefined) entry.resolve()
    else setImmediate(entry.reject, error)
  }

  /** One timer for the message that is due first. */
  #wakeBy(dueMs: number): void {
    if (dueMs >= this.#timerDueMs) return
    const { clock } = this.#link.context
    this.#timer?.cancel()
    this.#timerDueMs = dueMs
    const inMs = Math.max(1, Math.ceil(dueMs - clock.monotonicMs()))
    this.#timer = clock.setTimer(() => this.#expire(), inMs, 'foreground')
  }

  #expire(): void {
    const nowMs = this.#link.context.clock.monotonicMs()
    let firstDueMs = Infinity
    let silent: { live: LiveChannel<ConfirmChannel>; error: MultinodeError } | undefined
    for (const entry of this.#entries) {
      if (entry.dueMs > nowMs) {
        firstDueMs = Math.min(firstDueMs, entry.dueMs)
        continue
      }
      const error = this.#timeout(entry)
      if (entry.live !== undefined) silent = { live: entry.live, error }
      this.#settle(entry, error)
    }
    // Nothing else removes them while nothing can be sent, which may be for hours.
    this.#unsent = this.#unsent.slice(this.#nextUnsent).filter((entry) => this.#entries.has(entry))
    this.#nextUnsent = 0
    this.#timerDueMs = Infinity
    if (firstDueMs < Infinity) this.#wakeBy(firstDueMs)
    // A queue without a leader never confirms on the channel that published, but may on a new one. A blocked connection confirms later.
    if (silent !== undefined && this.#link.state.status === 'up')
      this.#channel.recycle(silent.live, silent.error)
  }

  #timeout(entry: Entry): MultinodeError {
    const { status, reason } = this.#link.state
    const why = status === 'up' ? '' : `: the connection is ${status}, ${String(reason)}`
    return new MultinodeError(
      'TIMEOUT',
      `RabbitMQ at ${this.#link.address}: no confirm for a message of ${this.#name} in time${why}.` +
        (entry.wasSent ? ' It may have arrived.' : ''),
      { backend: 'rabbitmq', outcome: outcomeOf(entry), details: { messageId: entry.options.messageId } },
    )
  }
}

function outcomeOf({ wasSent }: Entry): Outcome {
  return wasSent ? 'unknown' : 'not-sent'
}
