import type { PubSubDriver, PubSubPlugin } from '@multinode/core'
import { type MemoryBus, memoryPubSub } from '@multinode/core/testing'
import type { Node } from './node.ts'

/** Signals in memory that count as shared, because all nodes of these tests are in one process. */
export const signals: PubSubPlugin = changed((driver) => driver.publish.bind(driver))

/** The same, and none of them arrives, which nobody is told: for controls. */
export const lostSignals: PubSubPlugin = changed(() => async (request) => ({
  accepted: request.signals.length,
}))

/** What plays trouble with signals. */
export function busOf({ cluster }: Node): MemoryBus {
  const { native } = cluster.pubsub.driver
  if (isMemoryBus(native)) return native
  throw new Error('these signals are not in memory')
}

function isMemoryBus(native: unknown): native is MemoryBus {
  return typeof native === 'object' && native !== null && 'drop' in native && 'cut' in native
}

function changed(publishOf: (driver: PubSubDriver) => PubSubDriver['publish']): PubSubPlugin {
  return {
    ...memoryPubSub,
    backend: 'signals',
    async create(context) {
      const driver = await memoryPubSub.create(context)
      return {
        features: { ...driver.features, scope: 'cluster' },
        address: 'this process',
        native: driver.native,
        lanes: driver.lanes,
        maxDataBytes: driver.maxDataBytes,
        join: (receiver, metadata, timeoutMs) => driver.join(receiver, metadata, timeoutMs),
        publish: publishOf(driver),
        leave: (timeoutMs) => driver.leave(timeoutMs),
        ping: (timeoutMs) => driver.ping(timeoutMs),
        close: () => driver.close(),
      }
    },
  }
}
