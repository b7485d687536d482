import {
  type Cache,
  type CacheDriver,
  type CachePlugin,
  type CacheSpace,
  type Clock,
  type Cluster,
  createCluster,
  type NewEntry,
  type PubSubPlugin,
} from '@multinode/core'
import { redisCache } from '../src/index.ts'

export interface Node extends AsyncDisposable {
  readonly cluster: Cluster
  readonly cache: Cache
  readonly driver: CacheDriver
  readonly nodeId: string
  /** Trouble in the background. */
  readonly reported: readonly unknown[]
}

export interface NodeOptions {
  /** Of the cluster. Default `shop`. */
  readonly name?: string
  /** What the nodes tell each other by; none by default. */
  readonly signals?: PubSubPlugin
  /** Breaks what is under test, for a control. */
  readonly broken?: (plugin: CachePlugin) => CachePlugin
  readonly callTimeoutMs?: number
  readonly clock?: Clock
}

/** One node of a cluster, on connections of its own. */
export async function node(url: string, options: NodeOptions = {}): Promise<Node> {
  const { name = 'shop', signals, broken = (plugin) => plugin, ...rest } = options
  const reported: unknown[] = []
  const cluster = await createCluster({
    name,
    plugins: [broken(redisCache({ url })), ...(signals === undefined ? [] : [signals])],
    capabilities: signals === undefined ? ['cache'] : ['cache', 'pubsub'],
    env: {},
    ...rest,
  })
  cluster.on('error', (error) => void reported.push(error))
  return {
    cluster,
    cache: cluster.cache,
    driver: cluster.cache.driver,
    nodeId: cluster.node.nodeId,
    reported,
    [Symbol.asyncDispose]: () => cluster.close(),
  }
}

/** So many nodes, closed together. */
export async function nodes(
  url: string,
  count: number,
  options: NodeOptions = {},
): Promise<AsyncDisposable & { readonly all: readonly Node[] }> {
  const all = await Promise.all(Array.from({ length: count }, () => node(url, options)))
  return {
    all,
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map((each) => each.cluster.close()))
    },
  }
}

/** The same driver with some verbs of its namespaces replaced. */
export function replacing(
  plugin: CachePlugin,
  change: (space: CacheSpace) => Partial<CacheSpace>,
): CachePlugin {
  return { ...plugin, create: async (context) => changed(await plugin.create(context), change) }
}

function changed(driver: CacheDriver, change: (space: CacheSpace) => Partial<CacheSpace>): CacheDriver {
  return {
    features: driver.features,
    address: driver.address,
    native: driver.native,
    open(definition) {
      const space = driver.open(definition)
      return { ...verbsOf(space), ...change(space) }
    },
    ping: (timeoutMs) => driver.ping(timeoutMs),
    close: () => driver.close(),
  }
}

function verbsOf(space: CacheSpace): CacheSpace {
  return {
    get: (...call) => space.get(...call),
    getMany: (...call) => space.getMany(...call),
    claim: (...call) => space.claim(...call),
    renew: (...call) => space.renew(...call),
    fill: (...call) => space.fill(...call),
    release: (...call) => space.release(...call),
    set: (...call) => space.set(...call),
    delete: (...call) => space.delete(...call),
    invalidateTags: (...call) => space.invalidateTags(...call),
    clear: (...call) => space.clear(...call),
  }
}

/** Longer than any test takes. */
export const longMs = 600_000
/** The deadline of calls in tests that are not about outages. */
export const callMs = 10_000

/** What is only in Redis. */
export const far = { ttlMs: longMs, l1: false, timeoutMs: callMs } as const
/** What is also kept in the process. */
export const near = { ttlMs: longMs, timeoutMs: callMs } as const

export function entry(key: string, text: string, change: Partial<NewEntry> = {}): NewEntry {
  return { key, data: Buffer.from(text), ttlMs: longMs, graceMs: 0, tags: [], ...change }
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
