import {
  type IncomingSignal,
  type Member,
  pluginApi,
  type PublishReply,
  type PublishRequest,
  PubSub,
  type PubSubDriver,
  type PubSubPlugin,
  type SignalReceiver,
  type SubscribeOptions,
} from '../../src/index.ts'
import { encode } from '../../src/pubsub/envelope.ts'
import type { Subscription } from '../../src/pubsub/subscription.ts'
import type { CapabilityContext } from '../../src/runtime/capability-context.ts'
import { capabilityContext, ManualClock } from '../../src/testing/index.ts'

type Answers = Partial<Pick<PubSubDriver, 'join' | 'publish' | 'leave'>>

interface Options {
  readonly callTimeoutMs?: number
  readonly lanes?: number
  readonly maxDataBytes?: number
}

/** Who published a signal that arrives, and what else its envelope says. */
export interface Origin {
  readonly nodeId?: string
  readonly source?: string
  readonly sequence?: number
  readonly key?: string
  readonly to?: readonly string[]
  readonly lost?: number
}

/**
 * Signals as if on a server, with a clock that stands still: takes whatever is published, with a note of every call, or answers as the test says, and delivers what
 * the test says. Answers may be exchanged at any time.
 */
export class PubSubOn {
  readonly clock = new ManualClock()
  readonly answers: Answers
  readonly published: PublishRequest[] = []
  readonly reported: unknown[] = []
  readonly context: CapabilityContext
  readonly driver: PubSubDriver
  readonly pubsub: PubSub
  joins = 0
  leaves = 0
  metadata: unknown
  #receiver: SignalReceiver | undefined
  readonly #sequences = new Map<string, number>()

  constructor(answers: Answers = {}, options: Options = {}) {
    this.answers = answers
    this.driver = this.#driver(options)
    const report = (error: unknown): void => {
      this.reported.push(error)
    }
    const { clock } = this
    const { callTimeoutMs = 5_000 } = options
    this.context = capabilityContext('pubsub', 'steered', { clock, callTimeoutMs, report })
    this.pubsub = new PubSub(this.driver, this.context)
  }

  get receiver(): SignalReceiver {
    if (this.#receiver === undefined) throw new Error('nobody has joined')
    return this.#receiver
  }

  get nodeId(): string {
    return this.context.node.nodeId
  }

  /** What an app has of a subscription, in the order in which it has it: payloads, and gaps. */
  async follow(
    pattern: string,
    options: Partial<SubscribeOptions> = {},
  ): Promise<{ readonly seen: unknown[]; readonly subscription: Subscription }> {
    const seen: unknown[] = []
    const onGap = (gap: unknown): void => {
      seen.push(gap)
    }
    const handler = ({ payload }: { readonly payload: unknown }): void => {
      seen.push(payload)
    }
    const subscription = await this.pubsub.subscribe(pattern, handler, { onGap, ...options })
    return { seen, subscription }
  }

  /** What another node published, or whoever the test says. */
  signal(topic: string, payload: unknown, origin: Origin = {}): IncomingSignal {
    const { nodeId = 'other', source = nodeId, key, to, lost } = origin
    const sequence = origin.sequence ?? (this.#sequences.get(source) ?? 0) + 1
    this.#sequences.set(source, sequence)
    return { lane: 0, source, sequence, topic, data: encode({ nodeId, key, to, lost, payload }) }
  }

  /** A signal of another node arrives. Resolves when the driver may read on. */
  receive(topic: string, payload: unknown, origin: Origin = {}): Promise<void> {
    return this.receiver.receive([this.signal(topic, payload, origin)])
  }

  /** The sequences of each request of a driver, in order. */
  sequences(): number[][] {
    return this.published.map(({ signals }) => signals.map(({ sequence }) => sequence))
  }

  plugin(): PubSubPlugin {
    return {
      kind: 'multinode-plugin',
      api: pluginApi,
      capability: 'pubsub',
      backend: 'steered',
      options: {},
      create: async () => this.driver,
    }
  }

  #driver({ lanes = 1, maxDataBytes = 1_048_576 }: Options): PubSubDriver {
    const { answers } = this
    return {
      features: { scope: 'cluster', order: 'total' },
      address: 'steered://here',
      native: null,
      lanes,
      maxDataBytes,
      join: async (receiver, metadata, timeoutMs) => {
        this.joins += 1
        this.metadata = metadata
        await answers.join?.(receiver, metadata, timeoutMs)
        this.#receiver = receiver
      },
      publish: async (request, timeoutMs) => {
        this.published.push(request)
        return answers.publish?.(request, timeoutMs) ?? { accepted: request.signals.length }
      },
      leave: async (timeoutMs) => {
        this.leaves += 1
        await answers.leave?.(timeoutMs)
      },
      ping: async () => {},
      close: async () => {},
    }
  }
}

/** The backend is away: nothing of this was accepted. */
export async function away(): Promise<PublishReply> {
  return { accepted: 0, failure: { error: new Error('away'), isFinal: false } }
}

export function member(nodeId: string, incarnation: string): Member {
  return { nodeId, incarnation, sinceMs: 0, metadata: {} }
}
