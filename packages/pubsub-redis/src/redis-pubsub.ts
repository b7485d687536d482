import type { RedisClient, RedisConnection } from '@multinode/connection-redis'
import {
  isMultinodeError,
  MultinodeError,
  type PluginContext,
  type PublishReply,
  type PublishRequest,
  type PubSubDriver,
  type PubSubFeatures,
  type Share,
  type SignalReceiver,
} from '@multinode/core'
import { LogKeys } from './log-keys.ts'
import { LogReader } from './log-reader.ts'
import { type Accepted, LogServer, type Resumed } from './log-server.ts'
import { Presence } from './presence.ts'

export interface RedisPubSubSettings {
  /** About how many signals each log keeps. */
  readonly logLength: number
  /** How many logs there are. */
  readonly shards: number
}

interface Lane {
  readonly server: LogServer
  accepted: Accepted
  reader: LogReader | undefined
}

/**
 * Signals on Redis: a log (a stream) that each node reads with a connection of its own, numbers without holes by which a reader sees what it missed, and one script every
 * three seconds that says who is there and whether the reader is where the log is. Proven by `test/conformance.integration.test.ts`.
 */
export class RedisPubSub implements PubSubDriver {
  readonly features: PubSubFeatures = { scope: 'cluster', order: 'total' }
  readonly address: string
  readonly lanes: number
  readonly maxDataBytes = 1_048_576
  /** The ioredis client underneath; shared with the other adapters of this cluster object on the same address. */
  readonly native: RedisClient
  readonly #share: Share<RedisConnection>
  readonly #context: PluginContext
  readonly #lanes: readonly Lane[]
  #presence: Presence | undefined
  #isClosed = false

  constructor(
    share: Share<RedisConnection>,
    context: PluginContext,
    { logLength, shards }: RedisPubSubSettings,
  ) {
    const { connection } = share
    this.address = connection.address
    this.native = connection.client
    this.lanes = shards
    this.#share = share
    this.#context = context
    const { clusterName, incarnation } = context.node
    this.#lanes = Array.from({ length: shards }, (_, lane) => ({
      server: new LogServer(
        connection,
        new LogKeys(clusterName, lane),
        incarnation,
        logLength,
        context.clock,
      ),
      accepted: { sequence: 0, epoch: '', sentAtMs: 0 },
      reader: undefined,
    }))
  }

  async join(
    receiver: SignalReceiver,
    metadata: Readonly<Record<string, unknown>>,
    timeoutMs: number,
  ): Promise<void> {
    const positions = await Promise.all(
      this.#lanes.map(({ server }) => server.resume(this.#share.connection, undefined, timeoutMs)),
    )
    const presence = this.#presenceOf(receiver, metadata)
    await presence.start(timeoutMs)
    if (this.#isClosed) {
      presence.stop()
      throw closedMeanwhile()
    }
    this.#presence = presence
    this.#read(receiver, presence, positions)
  }

  #read(receiver: SignalReceiver, presence: Presence, positions: readonly Resumed[]): void {
    const { clock, callTimeoutMs, report } = this.#context
    const deaf = new Set(this.#lanes.keys())
    receiver.hearing(false)
    for (const [lane, each] of this.#lanes.entries()) {
      const position = positions[lane]?.position
      if (position === undefined) continue
      const onHearing = (isHearing: boolean): void => {
        if (isHearing) deaf.delete(lane)
        else deaf.add(lane)
        receiver.hearing(deaf.size === 0)
      }
      const onNodesChanged = (): void => presence.hurry()
      const parts = { server: each.server, lane, receiver, clock, callTimeoutMs, report }
      each.reader = new LogReader({ ...parts, onHearing, onNodesChanged }, position)
    }
  }

  async publish(
    { lane, signals, firstUnaccepted }: PublishRequest,
    timeoutMs: number,
  ): Promise<PublishReply> {
    const log = this.#lanes[lane]
    if (log === undefined) throw new MultinodeError('INTERNAL', `There is no log ${lane}.`)
    const { accepted: before } = log
    const sentAtMs = this.#context.clock.monotonicMs()
    // In one turn, so that they leave together.
    const results = await Promise.allSettled(
      signals.map((signal) =>
        log.server.publish({ ...signal, firstUnaccepted, accepted: before }, timeoutMs),
      ),
    )
    let accepted = 0
    for (const [index, result] of results.entries()) {
      if (result.status === 'rejected') return { accepted, failure: failureOf(result.reason) }
      if (result.value === undefined) return { accepted, failure: failureOf(outOfTurn()) }
      accepted += 1
      const { sequence = 0 } = signals[index] ?? {}
      if (sequence > 0) log.accepted = { sequence, epoch: result.value, sentAtMs }
    }
    return { accepted }
  }

  async leave(timeoutMs: number): Promise<void> {
    const presence = this.#presence
    this.#presence = undefined
    presence?.stop()
    await this.#stopReading()
    if (presence !== undefined) await this.#lanes[0]?.server.leave(timeoutMs)
  }

  ping(timeoutMs: number): Promise<void> {
    return this.#share.connection.ping(timeoutMs)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#presence?.stop()
    await this.#stopReading()
    await this.#share.release()
  }

  async #stopReading(): Promise<void> {
    await Promise.all(this.#lanes.map(async ({ reader }) => reader?.close()))
  }

  #presenceOf(receiver: SignalReceiver, metadata: Readonly<Record<string, unknown>>): Presence {
    const { node, clock, callTimeoutMs } = this.#context
    return new Presence({
      logs: this.#lanes,
      receiver,
      member: { nodeId: node.nodeId, incarnation: node.incarnation, metadata },
      clock,
      callTimeoutMs,
    })
  }
}

function failureOf(error: unknown): NonNullable<PublishReply['failure']> {
  const wrapped = error instanceof Error ? error : new Error(String(error))
  return { error: wrapped, isFinal: isMultinodeError(error) && !error.retryable && error.code !== 'CLOSED' }
}

function closedMeanwhile(): MultinodeError {
  return new MultinodeError('CLOSED', 'pubsub on redis: closed while this node joined.', {
    capability: 'pubsub',
    backend: 'redis',
  })
}

function outOfTurn(): MultinodeError {
  return new MultinodeError('UNAVAILABLE', 'One before it was not accepted yet: both are sent again.', {
    capability: 'pubsub',
    backend: 'redis',
    outcome: 'not-sent',
  })
}
