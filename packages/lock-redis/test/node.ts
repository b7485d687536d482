import { type LockDriver, Locks } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { redisLock } from '../src/index.ts'

export interface Node extends AsyncDisposable {
  readonly locks: Locks
  readonly driver: LockDriver
}

export interface NodeOptions {
  readonly clusterName: string
  readonly callTimeoutMs?: number
  /** Default: trouble in the background fails the test. */
  readonly report?: (error: unknown) => void
}

/** One node of a cluster, on a connection of its own. */
export async function node(url: string, options: NodeOptions): Promise<Node> {
  const driver = await redisLock({ url }).create(pluginContext(options))
  const locks = new Locks(driver, capabilityContext('lock', 'redis', options))
  return {
    locks,
    driver,
    async [Symbol.asyncDispose]() {
      await locks.close()
      await driver.close()
    },
  }
}
