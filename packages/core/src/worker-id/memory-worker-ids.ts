import { MemoryHub } from '../memory/memory-hub.ts'
import { pluginApi, type PluginContext } from '../registry/plugin.ts'
import { MemoryWorkerIdTable } from './memory-worker-id-table.ts'
import type {
  RenewReply,
  RenewRequest,
  WorkerHolder,
  WorkerIdDriver,
  WorkerIdFeatures,
  WorkerIdPlugin,
  WorkerIdReply,
  WorkerIdRequest,
} from './worker-id-driver.ts'

const tablePart = Symbol('multinode.workerid')

/** Worker ids within this process: apart for the cluster objects of one name, and for no other process. */
class MemoryWorkerIds implements WorkerIdDriver {
  readonly features: WorkerIdFeatures = { scope: 'process' }
  readonly address = null
  readonly native: MemoryWorkerIdTable
  readonly #hub: MemoryHub
  #closed = false

  constructor({ node, clock }: PluginContext) {
    this.#hub = MemoryHub.join(node.clusterName)
    this.native = this.#hub.part(tablePart, () => new MemoryWorkerIdTable(node.clusterName, clock))
  }

  async acquire(request: WorkerIdRequest): Promise<WorkerIdReply> {
    return this.native.acquire(request)
  }

  async renew(request: RenewRequest): Promise<RenewReply> {
    return this.native.renew(request)
  }

  async release(request: { id: number; token: string; usedMs: number }): Promise<'released' | 'not-owner'> {
    return this.native.release(request)
  }

  async holders(): Promise<readonly WorkerHolder[]> {
    return this.native.holders()
  }

  async ping(): Promise<void> {
    // Nothing between the caller and the state can be away.
  }

  async close(): Promise<void> {
    if (!this.#closed) this.#hub.leave()
    this.#closed = true
  }
}

export const memoryWorkerIds: WorkerIdPlugin = {
  kind: 'multinode-plugin',
  api: pluginApi,
  capability: 'workerid',
  backend: 'memory',
  options: {},
  create: async (context) => new MemoryWorkerIds(context),
}
