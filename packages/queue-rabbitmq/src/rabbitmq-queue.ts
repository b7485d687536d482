import type { RabbitmqConnection } from '@multinode/connection-rabbitmq'
import {
  isMultinodeError,
  MultinodeError,
  type PluginContext,
  type QueueDefinition,
  type QueueDriver,
  type QueueFeatures,
  type QueueLine,
  type Share,
} from '@multinode/core'
import { tickMs } from './delay-digits.ts'
import { DelayLine } from './delay-line.ts'
import { ClusterNames } from './queue-names.ts'
import { RabbitmqLine } from './rabbitmq-line.ts'
import { lineTopology } from './topology.ts'

/** A step of a delay that meets a queue without a leader is tried again by RabbitMQ after its confirm timeout of three minutes, or the one after. */
const lateAfterCrashMs = 400_000
/** How long a queue counts as refused for a reason that only a person can mend: each look costs channels, and is told. */
const refusedMs = 1_000

/**
 * Queues on RabbitMQ: quorum queues, publisher confirms, and copies that are confirmed before what they replace is acknowledged. Proven by
 * `test/conformance.integration.test.ts`.
 */
export class RabbitmqQueue implements QueueDriver {
  readonly features: QueueFeatures = {
    scope: 'cluster',
    persistence: 'quorum queues',
    delayStepMs: tickMs,
    lateAfterCrashMs,
    dedupe: false,
    lookup: false,
    progress: false,
    clusterPause: false,
    exactCounts: false,
    maxBytes: 1_048_576,
    maxConcurrency: 1_000,
  }
  readonly address: string
  /** Shared with the other adapters of this cluster object on the same address. */
  readonly native: RabbitmqConnection
  readonly #share: Share<RabbitmqConnection>
  readonly #context: PluginContext
  readonly #isPassive: boolean
  readonly #names: ClusterNames
  readonly #delayLine: DelayLine
  readonly #lines = new Map<string, RabbitmqLine>()
  readonly #refused = new Map<string, { readonly error: MultinodeError; readonly untilMs: number }>()
  #isClosed = false

  constructor(share: Share<RabbitmqConnection>, context: PluginContext, isPassive: boolean) {
    const { connection } = share
    const { clock, node } = context
    this.address = connection.address
    this.native = connection
    this.#share = share
    this.#context = context
    this.#isPassive = isPassive
    this.#names = new ClusterNames(node.clusterName)
    this.#delayLine = new DelayLine({ connection, names: this.#names, isPassive, clock })
  }

  /** @throws `MISCONFIGURED` for a server that is too old */
  static async open(
    share: Share<RabbitmqConnection>,
    context: PluginContext,
    isPassive: boolean,
  ): Promise<RabbitmqQueue> {
    const { connection } = share
    const version = connection.native?.connection.serverProperties.version
    if (version === undefined || isFit(version)) return new RabbitmqQueue(share, context, isPassive)
    await share.release()
    throw new MultinodeError(
      'MISCONFIGURED',
      `RabbitMQ at ${connection.address} is ${version}: queues need 3.10 or newer, whose quorum queues have delays and lose no dead letters.`,
      { capability: 'queue', backend: 'rabbitmq', details: { version } },
    )
  }

  async open(definition: QueueDefinition, timeoutMs: number): Promise<QueueLine> {
    if (this.#isClosed) throw closed('open')
    const { name } = definition
    const { clock } = this.#context
    const refused = this.#refused.get(name)
    if (refused !== undefined && clock.monotonicMs() < refused.untilMs) throw refused.error
    this.#refused.delete(name)
    const known = this.#lines.get(name)
    const line = known ?? this.#makeLine(definition)
    this.#lines.set(name, line)
    try {
      await line.open(timeoutMs)
    } catch (error) {
      // One that cannot be, because it is there with other arguments, is not asked for again and again.
      if (known === undefined && this.#lines.get(name) === line) {
        this.#lines.delete(name)
        void line.closeConsumers().then(() => line.close())
        if (isMultinodeError(error) && error.code === 'MISCONFIGURED')
          this.#refused.set(name, { error, untilMs: clock.monotonicMs() + refusedMs })
      }
      throw error
    }
    return line
  }

  ping(timeoutMs: number): Promise<void> {
    return this.#share.connection.ping(timeoutMs)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const lines = [...this.#lines.values()]
    await Promise.all(lines.map((line) => line.closeConsumers()))
    await Promise.all([...lines, this.#delayLine].map((each) => each.close()).concat(this.#share.release()))
  }

  #makeLine(definition: QueueDefinition): RabbitmqLine {
    const { clock, callTimeoutMs, node, report } = this.#context
    return new RabbitmqLine({
      connection: this.#share.connection,
      topology: lineTopology(this.#names, definition, this.#isPassive),
      cluster: this.#names,
      delayLine: this.#delayLine,
      name: definition.name,
      nodeId: node.nodeId,
      clock,
      callTimeoutMs,
      report,
    })
  }
}

function isFit(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 3 || (major === 3 && minor >= 10)
}

function closed(operation: string): MultinodeError {
  return new MultinodeError('CLOSED', `queue on rabbitmq: ${operation} came after the close.`, {
    capability: 'queue',
    backend: 'rabbitmq',
    outcome: 'not-sent',
  })
}
