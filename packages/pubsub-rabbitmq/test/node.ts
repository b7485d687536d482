import { isMultinodeError, PubSub, type PubSubDriver } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { rabbitmqPubSub, type RabbitmqPubSubOptions } from '../src/index.ts'

export interface Node extends AsyncDisposable {
  readonly pubsub: PubSub
  readonly driver: PubSubDriver
  readonly nodeId: string
}

export interface NodeOptions extends Pick<
  RabbitmqPubSubOptions,
  'mode' | 'logBytes' | 'queueLength' | 'urls'
> {
  readonly clusterName: string
  readonly callTimeoutMs?: number
  /** Where trouble in the background goes instead. */
  readonly report?: (error: unknown) => void
}

/** One node of a cluster, on connections of its own. Trouble in the background fails the test, unless it says that the server is away. */
export async function node(url: string, options: NodeOptions): Promise<Node> {
  const { clusterName, callTimeoutMs = 5_000, report = failUnlessAway, ...settings } = options
  const others = { clusterName, callTimeoutMs, report }
  const context = pluginContext(others)
  const address = settings.urls === undefined ? { url } : {}
  const driver = await rabbitmqPubSub({ ...address, ...settings }).create(context)
  const pubsub = new PubSub(driver, {
    ...capabilityContext('pubsub', 'rabbitmq', others),
    node: context.node,
  })
  return {
    pubsub,
    driver,
    nodeId: context.node.nodeId,
    async [Symbol.asyncDispose]() {
      await pubsub.close()
      await driver.close()
    },
  }
}

function failUnlessAway(error: unknown): void {
  if (isMultinodeError(error) && error.retryable) return
  queueMicrotask(() => {
    throw error
  })
}
