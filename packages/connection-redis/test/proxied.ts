import {
  type RedisCluster,
  type RedisSentinel,
  type RedisServer,
  startCluster,
  startRedis,
  startSentinel,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Cluster, Redis } from 'ioredis'
import type { RedisClient } from '../src/index.ts'

/** Servers that keep what they have answered, over a crash too, and that clients reach through proxies only. */
export interface Proxied extends AsyncDisposable {
  readonly url: string
  readonly masters: readonly RedisServer[]
  /** In front of each of them. */
  readonly proxies: readonly TcpProxy[]
  readonly sentinel: RedisSentinel | undefined
  /** A client of ioredis as it comes. */
  readonly bareClient: () => BareClient
}

export async function proxiedSingle(): Promise<Proxied> {
  await using started = new AsyncDisposableStack()
  const server = started.use(await startRedis({ aof: true }))
  const proxy = started.use(await tcpProxy(server.port))
  const all = started.move()
  return {
    url: `redis://127.0.0.1:${proxy.port}`,
    masters: [server],
    proxies: [proxy],
    sentinel: undefined,
    bareClient: () => bare(new Redis(proxy.port)),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

/** The Sentinels, too, reach the master through the proxy, because its address is what they tell. They never take it for down. */
export async function proxiedSentinel(): Promise<Proxied> {
  await using started = new AsyncDisposableStack()
  const sentinel = started.use(await startSentinel({ replicas: 0 }))
  const master = await sentinel.master()
  await keepData(master)
  const proxy = started.use(await tcpProxy(master.port))
  const { name, url } = sentinel
  for (const port of sentinel.sentinels) {
    await using watcher = bare(new Redis(port))
    await watcher.redis.call('SENTINEL', 'REMOVE', name)
    await watcher.redis.call('SENTINEL', 'MONITOR', name, '127.0.0.1', proxy.port, 2)
    await watcher.redis.call('SENTINEL', 'SET', name, 'down-after-milliseconds', 600_000)
  }
  const sentinels = sentinel.sentinels.map((port) => ({ host: '127.0.0.1', port }))
  const all = started.move()
  return {
    url,
    masters: [master],
    proxies: [proxy],
    sentinel,
    bareClient: () => bare(new Redis({ sentinels, name })),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

/** Three masters without replicas, which do not take each other for down: a fault stays a fault. */
export async function proxiedCluster(): Promise<Proxied> {
  await using started = new AsyncDisposableStack()
  const cluster = started.use(await startCluster({ masters: 3, nodeTimeoutMs: 30_000 }))
  const proxies: TcpProxy[] = []
  for (const node of cluster.nodes) {
    const proxy = started.use(await tcpProxy(node.port))
    proxies.push(proxy)
    await node.cli('CONFIG', 'SET', 'cluster-announce-port', String(proxy.port))
    await keepData(node)
  }
  await waitUntil('all nodes to announce the proxies', () => announcesOnly(cluster, proxies))
  const nodes = proxies.map(({ port }) => ({ host: '127.0.0.1', port }))
  const all = started.move()
  return {
    url: `redis+cluster://${nodes.map(({ host, port }) => `${host}:${port}`).join(',')}`,
    masters: cluster.nodes,
    proxies,
    sentinel: undefined,
    bareClient: () => bare(new Cluster(nodes)),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

async function announcesOnly(cluster: RedisCluster, proxies: readonly TcpProxy[]): Promise<boolean> {
  const views = await Promise.all(cluster.nodes.map((node) => node.cli('CLUSTER', 'NODES')))
  return views.every((view) => proxies.every(({ port }) => String(view).includes(`127.0.0.1:${port}@`)))
}

async function keepData(server: RedisServer): Promise<void> {
  await server.cli('CONFIG', 'SET', 'appendonly', 'yes')
  await server.cli('CONFIG', 'SET', 'appendfsync', 'always')
  await server.cli('CONFIG', 'REWRITE')
}

/** Ends with its scope. */
export interface BareClient extends AsyncDisposable {
  readonly redis: RedisClient
}

/** Prints no errors. */
export function bare(redis: RedisClient): BareClient {
  redis.on('error', () => {})
  return { redis, [Symbol.asyncDispose]: async () => redis.disconnect() }
}
