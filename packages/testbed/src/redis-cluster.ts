import { type ClusterEntry, clusterView, ownerOf } from './cluster-view.ts'
import { formRedisCluster } from './form-redis-cluster.ts'
import { claimPortWithBus } from './ports.ts'
import { isLinkedTo, isMaster } from './redis-replication.ts'
import { credentials, type RedisServer, startRedisOn } from './redis-server.ts'
import { migrateSlot, type MigrationOptions } from './slot-migration.ts'
import { startTogether } from './start-together.ts'
import type { TlsFiles } from './test-ca.ts'
import { waitUntil } from './wait-until.ts'

export interface ClusterOptions {
  /** Default 3, the least of which the others can replace one. */
  readonly masters?: number
  /** Default 0: when a master dies, all keys are refused. */
  readonly replicasEach?: number
  /** How long a node is silent before the others take it for down. Default 1500. */
  readonly nodeTimeoutMs?: number
  /** Of the default user on every node. */
  readonly password?: string
  /** Between the nodes too. */
  readonly tls?: 'server' | 'mutual'
}

/** A Redis Cluster, its slots spread evenly over the masters; resolves when every node finds it well. */
export async function startCluster(options: ClusterOptions = {}): Promise<RedisCluster> {
  const { masters = 3, replicasEach = 0 } = options
  await using started = new AsyncDisposableStack()
  const starts = Array.from({ length: masters * (1 + replicasEach) }, () => startNode(options))
  const nodes = await startTogether(started, starts)
  await formRedisCluster(nodes.slice(0, masters), nodes.slice(masters))
  const cluster = new RedisCluster(nodes, options, started.move())
  try {
    await cluster.ready()
    return cluster
  } catch (error) {
    await cluster.stop()
    throw error
  }
}

async function startNode({ nodeTimeoutMs = 1_500, password, tls }: ClusterOptions): Promise<RedisServer> {
  return await startRedisOn(await claimPortWithBus(), {
    ...(password !== undefined && { password }),
    ...(tls && { tls }),
    config: [
      ['cluster-enabled', 'yes'],
      ['cluster-config-file', 'nodes.conf'],
      ['cluster-node-timeout', String(nodeTimeoutMs)],
      // Else a master waits 5 s for more replicas before it sends its data.
      ['repl-diskless-sync-delay', '0'],
      ...(password === undefined ? [] : [['masterauth', password]]),
    ],
  })
}

export class RedisCluster {
  /** `redis+cluster://` (with TLS `rediss+cluster://`), with the password. */
  readonly url: string
  /** First the masters, then their replicas; failovers change the roles, not the order. */
  readonly nodes: readonly RedisServer[]
  /** For clients, with TLS. */
  readonly tls: TlsFiles | undefined
  readonly #replicaCount: number
  readonly #password: string | undefined
  readonly #started: AsyncDisposableStack

  constructor(nodes: readonly RedisServer[], options: ClusterOptions, started: AsyncDisposableStack) {
    const { masters = 3, password, tls } = options
    const hosts = nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')
    this.url = `${tls ? 'rediss+cluster' : 'redis+cluster'}://${credentials('', password)}${hosts}`
    this.nodes = nodes
    this.tls = nodes[0]?.tls
    this.#replicaCount = nodes.length - masters
    this.#password = password
    this.#started = started
  }

  /** Waits until every node is up, finds cluster_state ok, knows all others, and replicas are in step. */
  async ready(): Promise<void> {
    const probe = async () =>
      (await Promise.all(this.nodes.map((node) => this.#findsAllWell(node)))).every(Boolean)
    await waitUntil('cluster_state ok on every node', probe, { deadlineMs: 30_000 })
  }

  /** The server that all running nodes name as the master of this key, or slot; be it up or down. */
  async masterOf(keyOrSlot: string | number): Promise<RedisServer> {
    const slot = await this.#slotOf(keyOrSlot)
    return await waitUntil(`the nodes to name the same master of slot ${slot}`, async () => {
      const views = await this.#views()
      const ports = views.map((view) => ownerOf(slot, view)?.port)
      return this.nodes.find(({ port }) => ports.every((each) => each === port))
    })
  }

  /** The replicas of the key's, or slot's, master. */
  async replicasOf(keyOrSlot: string | number): Promise<RedisServer[]> {
    const view = await clusterView(await this.masterOf(keyOrSlot))
    const owner = ownerOf(await this.#slotOf(keyOrSlot), view)
    const ports = view.filter(({ masterId }) => masterId === owner?.id).map(({ port }) => port)
    return this.nodes.filter(({ port }) => ports.includes(port))
  }

  /** Moves a slot with its keys, whose names must be UTF-8, as an operator does while clients go on. */
  async moveSlot(keyOrSlot: string | number, to: RedisServer, options: MigrationOptions = {}): Promise<void> {
    const slot = await this.#slotOf(keyOrSlot)
    const from = await this.masterOf(slot)
    if (from === to) return
    const masters = await this.#runningMasters()
    await migrateSlot({ slot, from, to, masters, password: this.#password }, options)
    await waitUntil(
      `all nodes to know of the move of slot ${slot}`,
      async () => (await this.masterOf(slot)) === to,
    )
  }

  /** CLUSTER FAILOVER: this replica and its master change places; resolves when all running nodes know. */
  async failover(replica: RedisServer): Promise<void> {
    const own = await clusterView(replica)
    const { id, masterId } = entryOf(replica, own) ?? {}
    await replica.cli('CLUSTER', 'FAILOVER')
    await waitUntil(`the replica on port ${replica.port} to be master for all`, async () => {
      const previous = (await this.#views()).map((view) => view.find((entry) => entry.id === masterId))
      return previous.every((entry) => entry?.masterId === id) && (await isMaster(replica))
    })
  }

  /** FLUSHALL on every running master. */
  async flush(): Promise<void> {
    await Promise.all((await this.#runningMasters()).map((master) => master.flush()))
  }

  /** Ends all and removes their data. May be called twice. */
  async stop(): Promise<void> {
    await this.#started.disposeAsync()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #findsAllWell(node: RedisServer): Promise<boolean> {
    const info = String(await node.cli('CLUSTER', 'INFO'))
    const view = await clusterView(node)
    const replicas = view.filter(({ flags }) => flags.includes('slave'))
    return (
      info.includes('cluster_state:ok') &&
      view.length === this.nodes.length &&
      replicas.length === this.#replicaCount &&
      // Anything more is trouble: fail, handshake.
      view.every(({ flags }) => flags.join() === 'master' || flags.join() === 'slave') &&
      (await isInStep(node, view))
    )
  }

  async #slotOf(keyOrSlot: string | number): Promise<number> {
    if (typeof keyOrSlot === 'number') return keyOrSlot
    return Number(await this.#anyNode().cli('CLUSTER', 'KEYSLOT', keyOrSlot))
  }

  async #runningMasters(): Promise<RedisServer[]> {
    const running = this.#running()
    const masters = await Promise.all(running.map(isMaster))
    return running.filter((_, index) => masters[index])
  }

  async #views(): Promise<ClusterEntry[][]> {
    return await Promise.all(this.#running().map(clusterView))
  }

  #anyNode(): RedisServer {
    const [node] = this.#running()
    if (!node) throw new Error('no node of the cluster is running; restart() or resume() one first')
    return node
  }

  #running(): RedisServer[] {
    return this.nodes.filter((node) => node.state === 'running')
  }
}

async function isInStep(node: RedisServer, view: readonly ClusterEntry[]): Promise<boolean> {
  const self = entryOf(node, view)
  if (self?.flags.includes('master')) return await isMaster(node)
  const master = view.find(({ id }) => id === self?.masterId)
  return master !== undefined && (await isLinkedTo(node, master.port))
}

function entryOf(node: RedisServer, view: readonly ClusterEntry[]): ClusterEntry | undefined {
  return view.find(({ port }) => port === node.port)
}
