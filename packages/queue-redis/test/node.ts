import { type Clock, type QueueDriver, Queues } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { waitUntil } from '@multinode/testbed'
import { redisQueue } from '../src/index.ts'

export interface Node extends AsyncDisposable {
  readonly queues: Queues
  readonly driver: QueueDriver
  readonly nodeId: string
  /** Trouble in the background. */
  readonly reported: readonly unknown[]
  readonly warnings: readonly string[]
  close(): Promise<void>
}

export interface NodeOptions {
  readonly callTimeoutMs?: number
  readonly clock?: Clock
  readonly strict?: boolean
}

export const clusterName = 'shop'

/** One node of a cluster, on connections of its own. */
export async function node(url: string, { strict = false, ...rest }: NodeOptions = {}): Promise<Node> {
  const reported: unknown[] = []
  const warnings: string[] = []
  const about = { clusterName, report: (error: unknown) => void reported.push(error), ...rest }
  const context = { ...pluginContext(about), warn: (message: string) => void warnings.push(message) }
  const driver = await redisQueue({ url, strict }).create(context)
  const queues = new Queues(driver, { ...capabilityContext('queue', 'redis', about), node: context.node })
  const close = async (): Promise<void> => {
    await queues.close()
    await driver.close()
  }
  return {
    queues,
    driver,
    nodeId: context.node.nodeId,
    reported,
    warnings,
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** One whose calls have little time: what it asks the server when it begins may be late where others use the machine. */
export function untilOpen(url: string, options: NodeOptions): Promise<Node> {
  return waitUntil('a node', () => node(url, options))
}
