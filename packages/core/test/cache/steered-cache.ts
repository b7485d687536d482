import type { CacheDriver, CacheSpace } from '../../src/cache/cache-driver.ts'
import { memoryCache } from '../../src/cache/memory-cache.ts'
import { MultinodeError } from '../../src/index.ts'
import { pluginContext } from '../../src/testing/index.ts'
import type { Clock } from '../../src/runtime/clock.ts'
import { never } from '../support/outcome.ts'

/** `refused`: rejects at once. `silent`: takes the call, does nothing, and never answers. `rejected`: is there, and says no. */
export type Outage = 'refused' | 'silent' | 'rejected'

/** The memory cache as if on a server that can be away, with a note of every call. */
export class SteeredCache {
  readonly driver: CacheDriver
  /** The verbs, in order, those that failed included. */
  readonly calls: string[] = []
  outage: Outage | undefined

  private constructor(memory: CacheDriver) {
    const { counters, bloomFilters, files } = memory
    this.driver = {
      ...this.#steered(memory, ['ping']),
      features: memory.features,
      address: 'steered://here',
      native: null,
      open: (definition) => this.#steered<CacheSpace>(memory.open(definition), spaceVerbs),
      close: () => memory.close(),
      ...(counters && { counters: this.#steered(counters, ['increment', 'get', 'reset']) }),
      ...(bloomFilters && {
        bloomFilters: {
          ...this.#steered(bloomFilters, ['add', 'mayHave', 'remove']),
          engine: bloomFilters.engine,
        },
      }),
      ...(files && { files: this.#steered(files, ['put', 'get', 'delete']) }),
    }
  }

  static async on(clock: Clock): Promise<SteeredCache> {
    return new SteeredCache(await memoryCache.create(pluginContext({ clock })))
  }

  count(verb: string): number {
    return this.calls.filter((call) => call === verb).length
  }

  /** The same verbs, each of which asks first whether the server is there. */
  #steered<T extends object, V extends keyof T & string = keyof T & string>(
    target: T,
    verbs: readonly V[],
  ): Pick<T, V> {
    const steered: Partial<Pick<T, V>> = {}
    for (const verb of verbs) {
      const work = target[verb]
      if (typeof work !== 'function') continue
      Object.assign(steered, {
        [verb]: (...values: unknown[]) => this.#answer(verb, () => Reflect.apply(work, target, values)),
      })
    }
    return Object.assign(Object.create(null), steered)
  }

  #answer(verb: string, work: () => unknown): unknown {
    this.calls.push(verb)
    switch (this.outage) {
      case undefined:
        return work()
      case 'silent':
        return never()
      case 'refused':
        return Promise.reject(new MultinodeError('UNAVAILABLE', 'steered: away', { outcome: 'not-sent' }))
      case 'rejected':
        return Promise.reject(new MultinodeError('REJECTED', 'steered: not allowed', { outcome: 'not-sent' }))
    }
  }
}

const spaceVerbs = [
  'get',
  'getMany',
  'claim',
  'renew',
  'fill',
  'release',
  'set',
  'delete',
  'invalidateTags',
  'clear',
] as const
