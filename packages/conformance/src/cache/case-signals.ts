import type { PubSubDriver, PubSubPlugin } from '@multinode/core'
import type { MemoryBus } from '@multinode/core/testing'

/** The signals of one case. In memory they count as shared, because all nodes of a case are in this process. */
export class CaseSignals {
  readonly #plugin: PubSubPlugin
  #bus: MemoryBus | undefined

  constructor(plugin: PubSubPlugin) {
    this.#plugin = plugin
  }

  /** What plays trouble with signals; there is none where the harness brings signals of another kind. */
  get bus(): MemoryBus | undefined {
    return this.#bus
  }

  /** @param isAlone the cache is in this process too */
  plugin(isAlone: boolean): PubSubPlugin {
    return {
      ...this.#plugin,
      backend: 'signals',
      create: async (context) => {
        const driver = await this.#plugin.create(context)
        const { native } = driver
        if (isMemoryBus(native)) this.#bus = native
        return isAlone || driver.address !== null ? driver : asShared(driver)
      },
    }
  }
}

function asShared(driver: PubSubDriver): PubSubDriver {
  return {
    features: { ...driver.features, scope: 'cluster' },
    address: 'this process',
    native: driver.native,
    lanes: driver.lanes,
    maxDataBytes: driver.maxDataBytes,
    join: (receiver, metadata, timeoutMs) => driver.join(receiver, metadata, timeoutMs),
    publish: (request, timeoutMs) => driver.publish(request, timeoutMs),
    leave: (timeoutMs) => driver.leave(timeoutMs),
    ping: (timeoutMs) => driver.ping(timeoutMs),
    close: () => driver.close(),
  }
}

function isMemoryBus(native: unknown): native is MemoryBus {
  return typeof native === 'object' && native !== null && 'drop' in native && 'cut' in native
}
