import { randomBytes } from 'node:crypto'
import {
  type Gap,
  type IncomingSignal,
  type Member,
  PubSub,
  type PubSubDriver,
  type PubSubPlugin,
} from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import type { PubSubFaults, PubSubHarness } from './pubsub-harness.ts'

/** The deadline that cases give a single driver call, where they are not about patience: a busy machine stands still for a second or two. */
export const callMs = 5_000

/** A node seen from below: a driver, and what it told. */
export interface LowNode {
  readonly driver: PubSubDriver
  readonly nodeId: string
  readonly incarnation: string
  /** Signals and gaps, in the order in which they were told. */
  readonly told: (IncomingSignal | Gap)[]
  readonly members: () => readonly Member[]
  join(metadata?: Readonly<Record<string, unknown>>): Promise<void>
}

export interface LowNodeOptions {
  readonly nodeId?: string
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly plugin?: PubSubPlugin | undefined
  /** What the node does with what it receives, before it takes more. */
  readonly work?: () => Promise<void>
}

/** A node as an app sees it. */
export interface HighNode {
  readonly pubsub: PubSub
  readonly nodeId: string
}

/** What one case works with: nodes of one cluster that nobody else uses. Closed by the suite. */
export class PubSubWorld {
  readonly faults: PubSubFaults
  readonly harness: PubSubHarness
  readonly #clusterName = `conformance-${randomBytes(6).toString('hex')}`
  readonly #drivers: PubSubDriver[] = []
  readonly #pubsubs: PubSub[] = []

  constructor(harness: PubSubHarness) {
    this.harness = harness
    this.faults = harness.faults ?? {}
  }

  /** A node of its own that has not joined. */
  async stranger({
    nodeId,
    plugin = this.harness.plugin(),
    work = async () => {},
  }: LowNodeOptions = {}): Promise<LowNode> {
    const { driver, node } = await this.#driver(nodeId, plugin)
    const told: (IncomingSignal | Gap)[] = []
    let members: readonly Member[] = []
    const receiver = {
      receive: async (signals: readonly IncomingSignal[]) => {
        told.push(...signals)
        if (signals.length > 0) await work()
      },
      gap: (gap: Gap) => void told.push(gap),
      members: (now: readonly Member[]) => {
        members = now
      },
      isolated: () => {},
      hearing: () => {},
    }
    return {
      driver,
      nodeId: node.nodeId,
      incarnation: node.incarnation,
      told,
      members: () => members,
      join: (metadata = {}) => driver.join(receiver, metadata, callMs),
    }
  }

  /** A node of its own that has joined. */
  async lowNode(options: LowNodeOptions = {}): Promise<LowNode> {
    const node = await this.stranger(options)
    await node.join(options.metadata)
    return node
  }

  async highNode({ callTimeoutMs = callMs }: { readonly callTimeoutMs?: number } = {}): Promise<HighNode> {
    const plugin = this.harness.plugin()
    const { driver, node } = await this.#driver(undefined, plugin)
    const context = capabilityContext('pubsub', plugin.backend, {
      callTimeoutMs,
      // Trouble that a fault makes; what matters of it is what the case observes.
      report: () => {},
    })
    const pubsub = new PubSub(driver, { ...context, node })
    this.#pubsubs.push(pubsub)
    return { pubsub, nodeId: node.nodeId }
  }

  async close(): Promise<void> {
    await Promise.all(this.#pubsubs.map((pubsub) => pubsub.close()))
    await Promise.all(this.#drivers.map((driver) => driver.close()))
  }

  async #driver(nodeId: string | undefined, plugin: PubSubPlugin) {
    const context = pluginContext({
      clusterName: this.#clusterName,
      callTimeoutMs: callMs,
      report: () => {},
    })
    const node = { ...context.node, nodeId: nodeId ?? context.node.nodeId }
    const driver = await plugin.create({ ...context, node })
    this.#drivers.push(driver)
    return { driver, node }
  }
}

/** The signals among what a node was told. */
export function signalsOf({ told }: LowNode): IncomingSignal[] {
  return told.filter((each) => 'sequence' in each)
}

/** The gaps among what a node was told. */
export function gapsOf({ told }: LowNode): Gap[] {
  return told.filter((each) => 'reason' in each)
}
