import { randomBytes } from 'node:crypto'
import { type QueueDriver, type QueueFeatures, Queues } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import type { QueueFaults, QueueHarness } from './queue-harness.ts'

/** The deadline that cases give a single call. */
export const callMs = 5_000

/** A node as an app sees it, and the driver under it. */
export interface QueueNode {
  readonly queues: Queues
  readonly driver: QueueDriver
  readonly nodeId: string
  /** The trouble that it reported. */
  readonly reported: readonly unknown[]
  close(): Promise<void>
}

/** What one case works with: nodes of one cluster that nobody else uses. Closed by the suite. */
export class QueueWorld {
  readonly faults: QueueFaults
  readonly harness: QueueHarness
  readonly #clusterName = `conformance-${randomBytes(6).toString('hex')}`
  readonly #nodes: QueueNode[] = []

  constructor(harness: QueueHarness) {
    this.harness = harness
    this.faults = harness.faults ?? {}
  }

  /** A node of its own. */
  async node({ callTimeoutMs = callMs }: { readonly callTimeoutMs?: number } = {}): Promise<QueueNode> {
    const plugin = this.harness.plugin()
    const reported: unknown[] = []
    const report = (error: unknown): void => void reported.push(error)
    const about = { clusterName: this.#clusterName, callTimeoutMs, report }
    const context = pluginContext(about)
    const driver = await plugin.create(context)
    const { node } = context
    const queues = new Queues(driver, { ...capabilityContext('queue', plugin.backend, about), node })
    const close = async (): Promise<void> => {
      await queues.close()
      await driver.close()
    }
    const made = { queues, driver, nodeId: node.nodeId, reported, close }
    this.#nodes.push(made)
    return made
  }

  /** So many nodes, made side by side. */
  nodes(count: number): Promise<QueueNode[]> {
    return Promise.all(Array.from({ length: count }, () => this.node()))
  }

  /** What the adapter says that its backend can do. */
  async features(): Promise<QueueFeatures> {
    const node = await this.node()
    return node.driver.features
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.close()))
  }
}
