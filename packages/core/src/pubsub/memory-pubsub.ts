import { MultinodeError } from '../errors/multinode-error.ts'
import { MemoryHub } from '../memory/memory-hub.ts'
import { type NodeIdentity, pluginApi, type PluginContext } from '../registry/plugin.ts'
import type { Clock } from '../runtime/clock.ts'
import { MemoryBus, type Reader } from './memory-bus.ts'
import type {
  PublishReply,
  PublishRequest,
  PubSubDriver,
  PubSubFeatures,
  PubSubPlugin,
  SignalReceiver,
} from './pubsub-driver.ts'

const busPart = Symbol('multinode.pubsub')

/** Signals within this process: cluster objects of one name hear each other, and no other process does. */
export class MemoryPubSub implements PubSubDriver {
  readonly features: PubSubFeatures = { scope: 'process', order: 'total' }
  readonly address = null
  readonly lanes = 1
  readonly maxDataBytes = 1_048_576
  readonly native: MemoryBus
  readonly #node: NodeIdentity
  readonly #clock: Clock
  readonly #hub: MemoryHub
  #reader: Reader | undefined
  #closed = false

  constructor({ node, clock }: PluginContext) {
    this.#node = node
    this.#clock = clock
    this.#hub = MemoryHub.join(node.clusterName)
    this.native = this.#hub.part(busPart, () => new MemoryBus(clock))
  }

  async join(receiver: SignalReceiver, metadata: Readonly<Record<string, unknown>>): Promise<void> {
    if (this.#closed) return
    const { nodeId, incarnation } = this.#node
    this.#reader = this.native.join(
      { nodeId, incarnation, sinceMs: this.#clock.wallMs(), metadata },
      receiver,
    )
  }

  async publish(request: PublishRequest): Promise<PublishReply> {
    if (this.#reader !== undefined) return this.native.publish(this.#reader, request)
    throw new MultinodeError('UNAVAILABLE', 'This node has not joined yet, or has left.', {
      outcome: 'not-sent',
    })
  }

  async leave(): Promise<void> {
    if (this.#reader !== undefined) this.native.leave(this.#reader)
    this.#reader = undefined
  }

  async ping(): Promise<void> {
    // Nothing between the caller and the state can be away.
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.leave()
    this.#hub.leave()
  }
}

export const memoryPubSub: PubSubPlugin = {
  kind: 'multinode-plugin',
  api: pluginApi,
  capability: 'pubsub',
  backend: 'memory',
  options: {},
  create: async (context) => new MemoryPubSub(context),
}
