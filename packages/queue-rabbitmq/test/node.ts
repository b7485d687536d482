import { type Clock, type QueueDriver, Queues } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { rabbitmqQueue } from '../src/index.ts'

export interface Node extends AsyncDisposable {
  readonly queues: Queues
  readonly driver: QueueDriver
  readonly nodeId: string
  /** Trouble in the background. */
  readonly reported: readonly unknown[]
  close(): Promise<void>
}

export interface NodeOptions {
  /** A cluster of its own for each test that shares a server. */
  readonly clusterName: string
  readonly callTimeoutMs?: number
  readonly clock?: Clock
  readonly topology?: 'declare' | 'passive'
}

/** One node of a cluster, on connections of its own. */
export async function node(urls: string | readonly string[], options: NodeOptions): Promise<Node> {
  const { topology = 'declare', ...rest } = options
  const reported: unknown[] = []
  const about = { report: (error: unknown) => void reported.push(error), ...rest }
  const context = pluginContext(about)
  const driver = await rabbitmqQueue({ urls: [urls].flat(), topology }).create(context)
  const queues = new Queues(driver, { ...capabilityContext('queue', 'rabbitmq', about), node: context.node })
  const close = async (): Promise<void> => {
    await queues.close()
    await driver.close()
  }
  return {
    queues,
    driver,
    nodeId: context.node.nodeId,
    reported,
    close,
    [Symbol.asyncDispose]: close,
  }
}
