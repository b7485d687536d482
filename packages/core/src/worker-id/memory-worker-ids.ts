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

/**
 * By cluster name, for the life of the process: unlike what else is on memory it outlives the last cluster object of its name, because ids that were made stay
 * made, and the next one must not make them again.
 */
const tables = new Map<string, MemoryWorkerIdTable>()

/** Worker ids within this process: apart for the cluster objects of one name, and for no other process. */
class MemoryWorkerIds implements WorkerIdDriver {
  readonly features: WorkerIdFeatures = { scope: 'process' }
  readonly address = null
  readonly native: MemoryWorkerIdTable

  constructor({ node, clock }: PluginContext) {
    const table = tables.get(node.clusterName) ?? new MemoryWorkerIdTable(clock)
    tables.set(node.clusterName, table)
    this.native = table
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
    // The table stays: see above.
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
