import type { Publisher, RabbitmqConnection } from '@multinode/connection-rabbitmq'
import {
  isMultinodeError,
  MultinodeError,
  type OutgoingSignal,
  type PluginContext,
  type PublishReply,
  type PublishRequest,
  type PubSubDriver,
  type PubSubFeatures,
  type Share,
  type SignalReceiver,
} from '@multinode/core'
import { toSignalMessage } from './bus-message.ts'
import { BusNames } from './bus-names.ts'
import { type BusQueue, OwnQueue, SharedLog } from './bus-queue.ts'
import { BusReader } from './bus-reader.ts'
import { ForeignMessages } from './foreign-messages.ts'
import { Presence } from './presence.ts'

export interface RabbitmqPubSubSettings {
  /** `stream`: one log that all nodes read. `queue`: a queue for each node. */
  readonly mode: 'stream' | 'queue'
  readonly logBytes: number
  readonly queueLength: number
}

/** What a member has. */
interface Membership {
  readonly presence: Presence
  readonly reader: BusReader
}

/**
 * Signals on RabbitMQ: a topic exchange, read through one stream or a queue for each node, numbers of each publisher by which a reader sees what it missed, and a hello of
 * the reader's own at every attachment, by which it sees what the server does not say. Proven by `test/conformance.integration.test.ts`.
 */
export class RabbitmqPubSub implements PubSubDriver {
  readonly features: PubSubFeatures
  readonly address: string
  readonly lanes = 1
  readonly maxDataBytes = 1_048_576
  /** Shared with the other adapters of this cluster object on the same address. */
  readonly native: RabbitmqConnection
  readonly #share: Share<RabbitmqConnection>
  readonly #context: PluginContext
  readonly #names: BusNames
  readonly #queue: BusQueue
  readonly #publisher: Publisher
  #accepted = 0
  #sent = 0
  #membership: Membership | undefined
  #isClosed = false

  constructor(
    share: Share<RabbitmqConnection>,
    context: PluginContext,
    { mode, logBytes, queueLength }: RabbitmqPubSubSettings,
  ) {
    const { connection } = share
    const { node, warn, callTimeoutMs } = context
    this.features = { scope: 'cluster', order: mode === 'stream' ? 'total' : 'publisher', mode }
    this.address = connection.address
    this.native = connection
    this.#share = share
    this.#context = context
    this.#names = new BusNames(node.clusterName)
    this.#queue =
      mode === 'stream'
        ? new SharedLog(this.#names, logBytes, warn)
        : new OwnQueue(this.#names, connection, node.incarnation, queueLength, callTimeoutMs)
    this.#publisher = connection.publisher({
      name: 'signals',
      maxBytes: 16 * 1_048_576,
      maxMessageBytes: this.maxDataBytes,
      setup: async (channel) => {
        await channel.assertExchange(this.#names.bus, 'topic', { durable: true })
      },
    })
  }

  async join(
    receiver: SignalReceiver,
    metadata: Readonly<Record<string, unknown>>,
    timeoutMs: number,
  ): Promise<void> {
    const membership = this.#begin(receiver, metadata)
    try {
      await Promise.all([membership.reader.begun(timeoutMs), membership.presence.start(timeoutMs)])
      if (this.#isClosed) throw closedMeanwhile()
      this.#membership = membership
      membership.presence.joined()
    } catch (error) {
      await end(membership)
      throw error
    }
  }

  async publish({ signals, firstUnaccepted }: PublishRequest, timeoutMs: number): Promise<PublishReply> {
    const { incarnation } = this.#context.node
    const inTurn = this.#inTurn(signals, firstUnaccepted)
    this.#sent = Math.max(this.#sent, inTurn.at(-1)?.sequence ?? 0)
    const results = await Promise.allSettled(
      inTurn.map((signal) =>
        this.#publisher.publish(
          toSignalMessage(this.#names.bus, incarnation, signal, firstUnaccepted),
          timeoutMs,
        ),
      ),
    )
    let accepted = 0
    for (const [index, result] of results.entries()) {
      if (result.status === 'rejected') return { accepted, failure: failureOf(result.reason) }
      accepted += 1
      const { sequence = 0 } = signals[index] ?? {}
      this.#accepted = Math.max(this.#accepted, sequence)
    }
    return inTurn.length === signals.length ? { accepted } : { accepted, failure: failureOf(outOfTurn()) }
  }

  /** The server takes any number, so one whose predecessor is missing is not sent. */
  #inTurn(signals: readonly OutgoingSignal[], firstUnaccepted: number): readonly OutgoingSignal[] {
    let next = this.#accepted + 1
    const early = signals.findIndex(({ sequence }) => {
      if (sequence > next && sequence !== firstUnaccepted) return true
      next = Math.max(next, sequence + 1)
      return false
    })
    return early === -1 ? signals : signals.slice(0, early)
  }

  async leave(timeoutMs: number): Promise<void> {
    const membership = this.#membership
    this.#membership = undefined
    if (membership === undefined) return
    try {
      await membership.reader.close()
      await Promise.all([membership.presence.leave(timeoutMs), this.#queue.remove(timeoutMs)])
    } finally {
      await end(membership)
    }
  }

  ping(timeoutMs: number): Promise<void> {
    return this.#share.connection.ping(timeoutMs)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#membership !== undefined) await end(this.#membership)
    this.#membership = undefined
    await this.#publisher.close()
    await this.#share.release()
  }

  #begin(receiver: SignalReceiver, metadata: Readonly<Record<string, unknown>>): Membership {
    const { node, clock, callTimeoutMs, report } = this.#context
    const { nodeId, incarnation } = node
    const { connection } = this.#share
    const foreign = new ForeignMessages(clock, report)
    const reader = new BusReader({
      connection,
      publisher: this.#publisher,
      queue: this.#queue,
      receiver,
      source: incarnation,
      clock,
      callTimeoutMs,
      foreign,
      onBegin: () => presence.ask(),
    })
    const presence = new Presence({
      connection,
      names: this.#names,
      receiver,
      member: { nodeId, incarnation, sinceMs: clock.wallMs(), metadata },
      clock,
      numbers: () => ({ accepted: this.#accepted, sent: this.#sent }),
      onHeard: (source, heard) => reader.heard(source, heard),
      foreign,
    })
    return { presence, reader }
  }
}

async function end({ presence, reader }: Membership): Promise<void> {
  await Promise.all([presence.close(), reader.close()])
}

/** What the server did not take, or had no queue for, is sent again: only what no server would take is refused for good. */
function failureOf(error: unknown): NonNullable<PublishReply['failure']> {
  const wrapped = error instanceof Error ? error : new Error(String(error))
  const isFinal =
    isMultinodeError(error) && !error.retryable && !['CLOSED', 'NOT_FOUND', 'REJECTED'].includes(error.code)
  return { error: wrapped, isFinal }
}

function outOfTurn(): MultinodeError {
  return new MultinodeError('UNAVAILABLE', 'One before it was not accepted yet: both are sent again.', {
    capability: 'pubsub',
    backend: 'rabbitmq',
    outcome: 'not-sent',
  })
}

function closedMeanwhile(): MultinodeError {
  return new MultinodeError('CLOSED', 'pubsub on rabbitmq: closed while this node joined.', {
    capability: 'pubsub',
    backend: 'rabbitmq',
  })
}
