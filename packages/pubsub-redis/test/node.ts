import { type Clock, isMultinodeError, PubSub, type PubSubDriver } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { redisPubSub, type RedisPubSubOptions } from '../src/index.ts'

export interface Node extends AsyncDisposable {
  readonly pubsub: PubSub
  readonly driver: PubSubDriver
  readonly nodeId: string
  readonly incarnation: string
}

export interface NodeOptions extends Pick<RedisPubSubOptions, 'logLength' | 'shards'> {
  readonly clusterName: string
  readonly callTimeoutMs?: number
  readonly clock?: Clock
  /** Default: trouble in the background fails the test, unless it says that the server is away. */
  readonly report?: (error: unknown) => void
}

/** One node of a cluster, on a connection of its own. */
export async function node(url: string, options: NodeOptions): Promise<Node> {
  const { logLength, shards, ...rest } = options
  const others = { report: failUnlessAway, ...rest }
  const settings = {
    ...(logLength === undefined ? {} : { logLength }),
    ...(shards === undefined ? {} : { shards }),
  }
  const context = pluginContext(others)
  const driver = await redisPubSub({ url, ...settings }).create(context)
  const pubsub = new PubSub(driver, { ...capabilityContext('pubsub', 'redis', others), node: context.node })
  return {
    pubsub,
    driver,
    nodeId: context.node.nodeId,
    incarnation: context.node.incarnation,
    async [Symbol.asyncDispose]() {
      await pubsub.close()
      await driver.close()
    },
  }
}

export function failUnlessAway(error: unknown): void {
  if (isMultinodeError(error) && error.retryable) return
  queueMicrotask(() => {
    throw error
  })
}
