import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Cache,
  type CacheDriver,
  type CacheFeatures,
  type CacheNamespace,
  type CacheSpace,
  type Cluster,
  createCluster,
  type NamespaceOptions,
} from '@multinode/core'
import { memoryPubSub } from '@multinode/core/testing'
import type { CacheFaults, CacheHarness } from './cache-harness.ts'
import { CaseSignals } from './case-signals.ts'

/** The deadline that cases give a single call where they are not about patience: a call that is late counts as one that failed. */
export const callMs = 10_000

const everyMs = 10

/** A node as an app sees it, and the driver under it. */
export interface CacheNode {
  readonly cluster: Cluster
  readonly cache: Cache
  readonly driver: CacheDriver
  readonly nodeId: string
  /** The trouble that it reported. */
  readonly reported: readonly unknown[]
}

/** What one case works with: nodes of one cluster that nobody else uses. Closed by the suite. */
export class CacheWorld {
  readonly faults: CacheFaults
  readonly harness: CacheHarness
  /** What the nodes tell each other by. */
  readonly signals: CaseSignals
  readonly patienceMs: number
  readonly #clusterName = `conformance-${randomBytes(6).toString('hex')}`
  readonly #clusters: Cluster[] = []

  constructor(harness: CacheHarness) {
    this.harness = harness
    this.faults = harness.faults ?? {}
    this.signals = new CaseSignals(harness.pubsub?.() ?? memoryPubSub)
    this.patienceMs = harness.patienceMs ?? 15_000
  }

  /** A node of its own. */
  async node({ callTimeoutMs = callMs }: { readonly callTimeoutMs?: number } = {}): Promise<CacheNode> {
    const plugin = this.harness.plugin()
    const reported: unknown[] = []
    const cluster = await createCluster({
      name: this.#clusterName,
      plugins: [plugin, this.signals.plugin(plugin.backend === 'memory')],
      capabilities: ['cache', 'pubsub'],
      env: {},
      callTimeoutMs,
    })
    this.#clusters.push(cluster)
    cluster.on('error', (error) => void reported.push(error))
    const { cache, node } = cluster
    return { cluster, cache, driver: cache.driver, nodeId: node.nodeId, reported }
  }

  /** Two of them. */
  async twoNodes(): Promise<[CacheNode, CacheNode]> {
    return [await this.node(), await this.node()]
  }

  /** So many nodes, made side by side. */
  nodes(count: number): Promise<CacheNode[]> {
    return Promise.all(Array.from({ length: count }, () => this.node()))
  }

  /** The same namespace on two nodes. */
  async pair<T = unknown>(options: NamespaceOptions): Promise<[CacheNamespace<T>, CacheNamespace<T>]> {
    const [one, two] = await this.twoNodes()
    return [one.cache.namespace<T>('things', options), two.cache.namespace<T>('things', options)]
  }

  /** The same namespace on two nodes, from below. */
  async spaces(): Promise<[CacheSpace, CacheSpace]> {
    const [one, two] = await this.twoNodes()
    const definition = { name: 'things', version: '1' }
    return [one.driver.open(definition), two.driver.open(definition)]
  }

  /** What the adapter says that its backend can do. */
  async features(): Promise<CacheFeatures> {
    const { driver } = await this.node()
    return driver.features
  }

  /** Resolves as soon as it is so, and rejects when it is not within the harness's patience. */
  async until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
    const untilMs = performance.now() + this.patienceMs
    while (!(await isSo())) {
      if (performance.now() > untilMs) {
        throw new Error(`after ${this.patienceMs} ms it is still not so: ${what}`)
      }
      await sleep(everyMs)
    }
  }

  /** What it resolves with; rejects when that takes longer than the harness's patience. */
  async soon<T>(what: string, work: Promise<T>): Promise<T> {
    const timer = new AbortController()
    const late = sleep(this.patienceMs, undefined, { signal: timer.signal }).then(() => {
      throw new Error(`after ${this.patienceMs} ms it is still pending: ${what}`)
    })
    try {
      return await Promise.race([work, late])
    } finally {
      timer.abort()
      late.catch(() => {})
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#clusters.map((cluster) => cluster.close()))
  }
}
