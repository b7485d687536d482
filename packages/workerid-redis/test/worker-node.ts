import {
  type RenewReply,
  type RenewRequest,
  type WorkerHolder,
  type WorkerIdDriver,
  type WorkerIdFeatures,
  type WorkerIdReply,
  type WorkerIdRequest,
  WorkerIds,
} from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { redisWorkerIds } from '../src/index.ts'

const clusterName = 'shop'
export const table = '{shop:workerid:table}:table'

export interface NodeOptions {
  readonly callTimeoutMs?: number
  /** Default: trouble in the background fails the test. */
  readonly report?: (error: unknown) => void
}

/** Under faults a node reports what it could not renew or release, and does not try for long. */
export const quiet: NodeOptions = { report: () => {}, callTimeoutMs: 500 }

/** One node of the cluster, on a connection of its own. */
export interface WorkerNode extends AsyncDisposable {
  readonly workerIds: WorkerIds
  readonly driver: WorkerIdDriver
  /** From now on it asks another server, as clients do that were told of a failover. */
  moveTo(url: string): Promise<void>
}

export async function workerNode(url: string, options: NodeOptions = {}): Promise<WorkerNode> {
  const open = (where: string): Promise<WorkerIdDriver> =>
    redisWorkerIds({ url: where }).create(pluginContext({ clusterName, ...options }))
  const driver = new Relay(await open(url))
  const workerIds = new WorkerIds(driver, capabilityContext('workerid', 'redis', { clusterName, ...options }))
  return {
    workerIds,
    driver,
    async moveTo(where) {
      await driver.replace(await open(where))
    },
    async [Symbol.asyncDispose]() {
      await workerIds.close()
      await driver.close()
    },
  }
}

class Relay implements WorkerIdDriver {
  readonly features: WorkerIdFeatures
  #driver: WorkerIdDriver

  constructor(driver: WorkerIdDriver) {
    this.features = driver.features
    this.#driver = driver
  }

  get address(): string | null {
    return this.#driver.address
  }

  get native(): unknown {
    return this.#driver.native
  }

  async replace(driver: WorkerIdDriver): Promise<void> {
    const before = this.#driver
    this.#driver = driver
    await before.close()
  }

  acquire(request: WorkerIdRequest, timeoutMs: number): Promise<WorkerIdReply> {
    return this.#driver.acquire(request, timeoutMs)
  }

  renew(request: RenewRequest, timeoutMs: number): Promise<RenewReply> {
    return this.#driver.renew(request, timeoutMs)
  }

  release(...call: Parameters<WorkerIdDriver['release']>): Promise<'released' | 'not-owner'> {
    return this.#driver.release(...call)
  }

  holders(timeoutMs: number): Promise<readonly WorkerHolder[]> {
    return this.#driver.holders(timeoutMs)
  }

  ping(timeoutMs: number): Promise<void> {
    return this.#driver.ping(timeoutMs)
  }

  close(): Promise<void> {
    return this.#driver.close()
  }
}
