import { MemoryHub } from '../memory/memory-hub.ts'
import { pluginApi, type PluginContext } from '../registry/plugin.ts'
import type { Clock } from '../runtime/clock.ts'
import type {
  BloomFilterDriver,
  CacheDriver,
  CacheFeatures,
  CachePlugin,
  CacheSpace,
  CounterDriver,
  FileDriver,
  SpaceDefinition,
} from './cache-driver.ts'
import { MemoryBloomFilters } from './memory-bloom-filters.ts'
import { MemoryCounters } from './memory-counters.ts'
import { MemoryEntries } from './memory-entries.ts'
import { MemoryFiles } from './memory-files.ts'
import { MemorySpace, mostEntryBytes } from './memory-space.ts'

const cachePart = Symbol('multinode.cache')

/** All that the drivers of one cluster name keep. */
class MemoryStore {
  readonly spaces = new Map<string, MemorySpace>()
  readonly entries: MemoryEntries
  readonly counters: MemoryCounters
  readonly bloomFilters = new MemoryBloomFilters()
  readonly files: MemoryFiles

  constructor(clock: Clock) {
    this.entries = new MemoryEntries(clock)
    this.counters = new MemoryCounters(clock)
    this.files = new MemoryFiles(clock)
  }
}

interface Shared {
  /** Absent while there is no driver. */
  store: MemoryStore | undefined
  drivers: number
}

/**
 * A cache within this process: cluster objects of one name share it, and it ends with the last of these. Entries have 256 MiB in all: those that were not used for longest
 * go first. Counters, filters and files are never dropped, so when there are too many further ones are refused.
 */
class MemoryCache implements CacheDriver {
  readonly features: CacheFeatures = { scope: 'process', forgetsDeletes: false, maxBytes: mostEntryBytes }
  readonly address = null
  /** All namespaces of this cluster name. */
  readonly native: ReadonlyMap<string, MemorySpace>
  readonly counters: CounterDriver
  readonly bloomFilters: BloomFilterDriver
  readonly files: FileDriver
  readonly #store: MemoryStore
  readonly #hub: MemoryHub
  readonly #shared: Shared
  #isClosed = false

  constructor(context: PluginContext) {
    this.#hub = MemoryHub.join(context.node.clusterName)
    this.#shared = this.#hub.part<Shared>(cachePart, () => ({ store: undefined, drivers: 0 }))
    this.#shared.store ??= new MemoryStore(context.clock)
    this.#shared.drivers += 1
    this.#store = this.#shared.store
    this.native = this.#store.spaces
    this.counters = this.#store.counters
    this.bloomFilters = this.#store.bloomFilters
    this.files = this.#store.files
  }

  open({ name, version }: SpaceDefinition): CacheSpace {
    const { spaces, entries } = this.#store
    const id = JSON.stringify([name, version])
    const known = spaces.get(id)
    if (known !== undefined) return known
    const space = new MemorySpace(entries)
    spaces.set(id, space)
    return space
  }

  async ping(): Promise<void> {
    // Nothing between the caller and the state can be away.
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#shared.drivers -= 1
    if (this.#shared.drivers === 0) this.#shared.store = undefined
    this.#hub.leave()
  }
}

export const memoryCache: CachePlugin = {
  kind: 'multinode-plugin',
  api: pluginApi,
  capability: 'cache',
  backend: 'memory',
  options: {},
  create: async (context) => new MemoryCache(context),
}
