import { MemoryHub } from '../memory/memory-hub.ts'
import { pluginApi, type PluginContext } from '../registry/plugin.ts'
import type {
  AcquireReply,
  AcquireRequest,
  ExtendReply,
  LockDriver,
  LockFeatures,
  LockPlugin,
  ReleaseReply,
} from './lock-driver.ts'
import { MemoryLockStore } from './memory-lock-store.ts'

const hubPart = Symbol('multinode.lock')

/** Locks within this process: excludes the cluster objects of one name from each other, and no other process. */
class MemoryLock implements LockDriver {
  readonly features: LockFeatures = { scope: 'process', order: 'fifo' }
  readonly address = null
  readonly native: MemoryLockStore
  readonly #hub: MemoryHub
  #closed = false

  constructor(context: PluginContext) {
    this.#hub = MemoryHub.join(context.node.clusterName)
    this.native = this.#hub.part(hubPart, () => new MemoryLockStore(context.clock))
  }

  async acquire(request: AcquireRequest): Promise<AcquireReply> {
    return this.native.acquire(request)
  }

  async extend(key: string, owner: string, ttlMs: number): Promise<ExtendReply> {
    return this.native.extend(key, owner, ttlMs)
  }

  async release(key: string, owner: string): Promise<ReleaseReply> {
    return this.native.release(key, owner)
  }

  async cancel(key: string, owner: string): Promise<void> {
    this.native.cancel(key, owner)
  }

  onWake(owner: string, wake: () => void): () => void {
    return this.native.onWake(owner, wake)
  }

  async ping(): Promise<void> {
    // Nothing between the caller and the state can be away.
  }

  async close(): Promise<void> {
    if (!this.#closed) this.#hub.leave()
    this.#closed = true
  }
}

export const memoryLock: LockPlugin = {
  kind: 'multinode-plugin',
  api: pluginApi,
  capability: 'lock',
  backend: 'memory',
  options: {},
  create: async (context) => new MemoryLock(context),
}
