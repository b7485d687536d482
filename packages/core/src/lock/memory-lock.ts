import { MemoryHub } from '../memory/memory-hub.ts'
import { pluginApi, type PluginContext } from '../registry/plugin.ts'
import type {
  AcquireReply,
  AcquireRequest,
  ExtendReply,
  LockDriver,
  LockFeatures,
  LockPlugin,
  JobDriver,
  ReleaseReply,
  SharedLockDriver,
} from './lock-driver.ts'
import { MemoryJobs } from './memory-jobs.ts'
import { MemoryLockStore } from './memory-lock-store.ts'

const lockPart = Symbol('multinode.lock')
const jobPart = Symbol('multinode.lock.jobs')

/** Locks within this process: excludes the cluster objects of one name from each other, and no other process. */
class MemoryLock implements LockDriver {
  readonly features: LockFeatures = { scope: 'process', order: 'fifo' }
  readonly address = null
  readonly native: MemoryLockStore
  readonly shared: SharedLockDriver
  readonly jobs: JobDriver
  readonly #hub: MemoryHub
  #closed = false

  constructor(context: PluginContext) {
    this.#hub = MemoryHub.join(context.node.clusterName)
    this.native = this.#hub.part(lockPart, () => new MemoryLockStore(context.clock))
    this.shared = sharedOn(this.native)
    this.jobs = this.#hub.part(jobPart, () => new MemoryJobs(context.clock))
  }

  async acquire(request: AcquireRequest): Promise<AcquireReply> {
    return this.native.acquire({ ...request, key: plainKey(request.key) })
  }

  async extend(key: string, owner: string, ttlMs: number): Promise<ExtendReply> {
    return this.native.extend(plainKey(key), owner, ttlMs)
  }

  async release(key: string, owner: string): Promise<ReleaseReply> {
    return this.native.release(plainKey(key), owner)
  }

  async cancel(key: string, owner: string): Promise<void> {
    this.native.cancel(plainKey(key), owner)
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

/** Shared locks are in the same store, under keys that no plain lock has. */
function plainKey(key: string): string {
  return `plain:${key}`
}

function sharedOn(store: MemoryLockStore): SharedLockDriver {
  const sharedKey = (key: string): string => `shared:${key}`
  return {
    acquire: async (request) => store.acquire({ ...request, key: sharedKey(request.key) }),
    extend: async (key, owner, ttlMs) => store.extend(sharedKey(key), owner, ttlMs),
    release: async (key, owner) => store.release(sharedKey(key), owner),
    cancel: async (key, owner) => store.cancel(sharedKey(key), owner),
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
