import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type CacheDriver,
  type CachePlugin,
  type CacheSpace,
  MultinodeError,
  type PluginContext,
} from '@multinode/core'
import { memoryCache } from '@multinode/core/testing'
import type { CacheFaults } from '../src/index.ts'

type Ask = <T>(timeoutMs: number, work: () => Promise<T>) => Promise<T>

/** A cache in memory, with the troubles that a server can have, and, where it is asked for, with no more than a backend must be able to do. */
export class FaultyCache {
  #trouble: 'none' | 'silent' | 'away' = 'none'
  readonly faults: CacheFaults = {
    freeze: () => this.#while('silent'),
    refuse: () => this.#while('away'),
  }

  /** A plugin whose drivers all see these troubles. */
  plugin({ isPoor = false }: { readonly isPoor?: boolean } = {}): CachePlugin {
    return { ...memoryCache, create: (context) => this.#create(context, isPoor) }
  }

  async #create(context: PluginContext, isPoor: boolean): Promise<CacheDriver> {
    const memory = await memoryCache.create(context)
    const bare = {
      features: memory.features,
      address: null,
      native: memory.native,
      open: (definition) => bareSpace(memory.open(definition), this.#ask),
      ping: (timeoutMs) => this.#ask(timeoutMs, () => memory.ping(timeoutMs)),
      close: () => memory.close(),
    } satisfies CacheDriver
    return isPoor ? bare : { ...bare, ...this.#parts(memory) }
  }

  #parts(memory: CacheDriver): Pick<CacheDriver, 'counters' | 'bloomFilters' | 'files'> {
    const { counters, bloomFilters, files } = memory
    if (counters === undefined || bloomFilters === undefined || files === undefined) return {}
    const ask = this.#ask
    return {
      counters: {
        increment: (name, by, ttlMs, timeoutMs) =>
          ask(timeoutMs, () => counters.increment(name, by, ttlMs, timeoutMs)),
        get: (name, timeoutMs) => ask(timeoutMs, () => counters.get(name, timeoutMs)),
        reset: (name, timeoutMs) => ask(timeoutMs, () => counters.reset(name, timeoutMs)),
      },
      bloomFilters: {
        engine: bloomFilters.engine,
        add: (filter, items, timeoutMs) => ask(timeoutMs, () => bloomFilters.add(filter, items, timeoutMs)),
        mayHave: (filter, items, timeoutMs) =>
          ask(timeoutMs, () => bloomFilters.mayHave(filter, items, timeoutMs)),
        remove: (name, timeoutMs) => ask(timeoutMs, () => bloomFilters.remove(name, timeoutMs)),
      },
      files: {
        put: (name, file, ttlMs, timeoutMs) => ask(timeoutMs, () => files.put(name, file, ttlMs, timeoutMs)),
        get: (name, known, timeoutMs) => ask(timeoutMs, () => files.get(name, known, timeoutMs)),
        delete: (name, timeoutMs) => ask(timeoutMs, () => files.delete(name, timeoutMs)),
      },
    }
  }

  async #while(trouble: 'silent' | 'away'): Promise<() => Promise<void>> {
    this.#trouble = trouble
    return async () => {
      this.#trouble = 'none'
    }
  }

  readonly #ask: Ask = async (timeoutMs, work) => {
    if (this.#trouble === 'silent') return silence(timeoutMs)
    if (this.#trouble === 'away') throw new MultinodeError('UNAVAILABLE', 'away', { outcome: 'not-sent' })
    // As far as a server is: what a case does at once would else keep all timers from their turn.
    await nextTurn()
    return work()
  }
}

/** What every space has, and no more. */
export function bareSpace(space: CacheSpace, ask: Ask = (_, work) => work()): CacheSpace {
  return {
    get: (key, timeoutMs) => ask(timeoutMs, () => space.get(key, timeoutMs)),
    getMany: (keys, timeoutMs) => ask(timeoutMs, () => space.getMany(keys, timeoutMs)),
    claim: (request, timeoutMs) => ask(timeoutMs, () => space.claim(request, timeoutMs)),
    renew: (key, owner, leaseMs, timeoutMs) =>
      ask(timeoutMs, () => space.renew(key, owner, leaseMs, timeoutMs)),
    fill: (entry, owner, snapshot, timeoutMs) =>
      ask(timeoutMs, () => space.fill(entry, owner, snapshot, timeoutMs)),
    release: (key, owner, timeoutMs) => ask(timeoutMs, () => space.release(key, owner, timeoutMs)),
    set: (entries, timeoutMs) => ask(timeoutMs, () => space.set(entries, timeoutMs)),
    delete: (keys, timeoutMs) => ask(timeoutMs, () => space.delete(keys, timeoutMs)),
    invalidateTags: (tags, timeoutMs) => ask(timeoutMs, () => space.invalidateTags(tags, timeoutMs)),
    clear: (timeoutMs) => ask(timeoutMs, () => space.clear(timeoutMs)),
  }
}

function silence(timeoutMs: number): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new MultinodeError('TIMEOUT', 'silent', { outcome: 'unknown' })), timeoutMs)
  })
}
