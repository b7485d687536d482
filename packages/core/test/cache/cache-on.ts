import {
  Cache,
  type CacheDriver,
  type CacheNamespace,
  type CacheSpace,
  type NamespaceOptions,
  PubSub,
} from '../../src/index.ts'
import type { MemoryBus } from '../../src/pubsub/memory-bus.ts'
import {
  capabilityContext,
  ManualClock,
  memoryBusOf,
  memoryCache,
  memoryPubSub,
  pluginContext,
} from '../../src/testing/index.ts'

type Verb = keyof CacheSpace

/** What happens around a call: before the backend has it, and before its answer is there. */
interface Steps {
  readonly before?: () => Promise<void>
  readonly after?: () => Promise<void>
}

const verbs: readonly Verb[] = [
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
]

/** The caches of nodes that share what is stored, with a clock that stands still. */
export class CacheOn {
  readonly clock = new ManualClock()
  readonly #clusterName = `test-${Math.random()}`
  readonly #withSignals: boolean
  readonly #scope: 'process' | 'cluster'

  constructor(options: { readonly withSignals?: boolean; readonly scope?: 'process' | 'cluster' } = {}) {
    this.#withSignals = options.withSignals ?? true
    this.#scope = options.scope ?? 'process'
  }

  async node(): Promise<CacheNode> {
    const { clock } = this
    const context = pluginContext({ clock, clusterName: this.#clusterName })
    const about = { clock, clusterName: this.#clusterName }
    const reported: unknown[] = []
    const warned: string[] = []
    const report = (error: unknown): void => void reported.push(error)
    const pubsub = this.#withSignals
      ? new PubSub(await memoryPubSub.create(context), {
          ...capabilityContext('pubsub', 'memory', about),
          node: context.node,
        })
      : undefined
    const driver = await memoryCache.create(context)
    const shown = new CacheNode(context.node.nodeId, clock, pubsub, reported, warned)
    const steered = shown.steer(driver, this.#scope)
    shown.cache = new Cache(steered, {
      ...capabilityContext('cache', 'memory', {
        ...about,
        report,
        warn: (message) => void warned.push(message),
        ...(pubsub === undefined ? {} : { pubsub }),
      }),
      node: context.node,
    })
    await clock.advance(0)
    return shown
  }
}

/** One node: its cache, and what the test does to the calls of its backend. */
export class CacheNode {
  readonly clock: ManualClock
  readonly reported: unknown[]
  readonly warned: readonly string[]
  readonly nodeId: string
  readonly calls: Verb[] = []
  /** May be exchanged at any time. */
  steps: Partial<Record<Verb, Steps>> = {}
  readonly #pubsub: PubSub | undefined
  #cache: Cache | undefined

  constructor(
    nodeId: string,
    clock: ManualClock,
    pubsub: PubSub | undefined,
    reported: unknown[],
    warned: readonly string[],
  ) {
    this.nodeId = nodeId
    this.clock = clock
    this.#pubsub = pubsub
    this.reported = reported
    this.warned = warned
  }

  get cache(): Cache {
    if (this.#cache === undefined) throw new Error('not set up')
    return this.#cache
  }

  set cache(cache: Cache) {
    this.#cache = cache
  }

  get pubsub(): PubSub {
    if (this.#pubsub === undefined) throw new Error('no signals')
    return this.#pubsub
  }

  get bus(): MemoryBus {
    return memoryBusOf(this.pubsub)
  }

  /** A namespace with values that last for a minute; resolves when it hears of the others. */
  async open(options: Partial<NamespaceOptions> = {}): Promise<CacheNamespace> {
    const prices = this.cache.namespace('prices', { ttlMs: 60_000, ...options })
    await this.clock.advance(0)
    return prices
  }

  count(verb: Verb): number {
    return this.calls.filter((call) => call === verb).length
  }

  /** Every call of the verb fails so from now on. */
  fail(error: Error, which: readonly Verb[] = verbs): void {
    for (const verb of which) this.steps[verb] = { before: () => Promise.reject(error) }
  }

  /** The answer of a verb waits for this. */
  holdAnswer(verb: Verb, until: Promise<void>): void {
    this.steps[verb] = { after: () => until }
  }

  /** The backend has a call only after this. */
  holdCall(verb: Verb, until: Promise<void>): void {
    this.steps[verb] = { before: () => until }
  }

  steer(driver: CacheDriver, scope: 'process' | 'cluster'): CacheDriver {
    return {
      features: { ...driver.features, scope },
      address: driver.address,
      native: driver.native,
      ping: (timeoutMs) => driver.ping(timeoutMs),
      close: () => driver.close(),
      open: (definition) => this.#steered(driver.open(definition)),
    }
  }

  #steered(space: CacheSpace): CacheSpace {
    return new Proxy(space, {
      get: (target, name) => {
        const verb = verbs.find((each) => each === name)
        if (verb === undefined) return Reflect.get(target, name)
        return async (...values: unknown[]): Promise<unknown> => {
          this.calls.push(verb)
          const { before, after } = this.steps[verb] ?? {}
          await before?.()
          const answer: unknown = await Reflect.apply(target[verb], target, values)
          await after?.()
          return answer
        }
      },
    })
  }
}
