import { type RedisClient, type RedisConnection, slotPrefix } from '@multinode/connection-redis'
import {
  MultinodeError,
  type PluginContext,
  type QueueDefinition,
  type QueueDriver,
  type QueueFeatures,
  type QueueLine,
  type Share,
} from '@multinode/core'
import { RedisLine } from './redis-line.ts'
import { checkServer, type ServerState, tooRisky } from './server-check.ts'

/** How much later a job comes that a crash cut short, or that was on its way to a worker: a lease and a sweep of the default lengths. */
const lateAfterCrashMs = 40_000

/**
 * Queues on Redis, kept by BullMQ: its scripts move each job from state to state, in one step each. Proven by `test/conformance.integration.test.ts`.
 */
export class RedisQueue implements QueueDriver {
  readonly address: string
  /** The ioredis client underneath; shared with the other adapters of this cluster object on the same address. */
  readonly native: RedisClient
  readonly #share: Share<RedisConnection>
  readonly #producer: RedisConnection
  readonly #context: PluginContext
  readonly #isStrict: boolean
  readonly #lines = new Map<string, RedisLine>()
  #server: ServerState
  #toldConcerns = ''
  #isClosed = false

  constructor(parts: {
    readonly share: Share<RedisConnection>
    readonly producer: RedisConnection
    readonly context: PluginContext
    readonly isStrict: boolean
    readonly server: ServerState
  }) {
    const { connection } = parts.share
    this.address = connection.address
    this.native = connection.client
    this.#share = parts.share
    this.#producer = parts.producer
    this.#context = parts.context
    this.#isStrict = parts.isStrict
    this.#server = parts.server
    this.#judge(parts.server)
  }

  /** @throws `MISCONFIGURED` for a server that is not fit, if that is strict */
  static async open(
    share: Share<RedisConnection>,
    context: PluginContext,
    isStrict: boolean,
  ): Promise<RedisQueue> {
    let producer: RedisConnection | undefined
    try {
      // Its own, because BullMQ sends long pipelines and defines commands on it.
      producer = await share.connection.duplicate({ signal: context.signal })
      const server = await checkServer(producer, context.clock, context.callTimeoutMs)
      return new RedisQueue({ share, producer, context, isStrict, server })
    } catch (error) {
      await producer?.close()
      await share.release()
      throw error
    }
  }

  get concerns(): readonly string[] {
    return this.#server.concerns
  }

  get features(): QueueFeatures {
    return {
      scope: 'cluster',
      persistence: this.#server.persistence,
      delayStepMs: 1,
      lateAfterCrashMs,
      dedupe: true,
      lookup: true,
      progress: true,
      clusterPause: true,
      exactCounts: true,
      maxBytes: 1_048_576,
      maxConcurrency: 1_000,
    }
  }

  async open({ name, hasPriorities }: QueueDefinition, timeoutMs: number): Promise<QueueLine> {
    if (this.#isClosed) throw closed('open')
    const known = this.#lines.get(name)
    if (known !== undefined) return known
    const { node, clock, callTimeoutMs, report } = this.#context
    const line = new RedisLine({
      connection: this.#producer,
      prefix: slotPrefix(node.clusterName, 'queue', name),
      hasPriorities,
      nodeId: node.nodeId,
      clock,
      callTimeoutMs,
      report,
    })
    this.#lines.set(name, line)
    try {
      await line.open(timeoutMs)
    } catch (error) {
      this.#lines.delete(name)
      await line.close()
      throw error
    }
    return line
  }

  async ping(timeoutMs: number): Promise<void> {
    this.#server = await checkServer(this.#producer, this.#context.clock, timeoutMs)
    this.#judge(this.#server)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#lines.values()].map((line) => line.close()))
    await this.#producer.close()
    await this.#share.release()
  }

  #judge({ concerns }: ServerState): void {
    if (concerns.length === 0) return
    if (this.#isStrict) throw tooRisky(this.address, concerns)
    const text = concerns.join('; ')
    if (text === this.#toldConcerns) return
    this.#toldConcerns = text
    this.#context.warn(`Redis at ${this.address} is not fit for queues: ${text}.`)
  }
}

function closed(operation: string): MultinodeError {
  return new MultinodeError('CLOSED', `queue on redis: ${operation} came after the close.`, {
    capability: 'queue',
    backend: 'redis',
    outcome: 'not-sent',
  })
}
