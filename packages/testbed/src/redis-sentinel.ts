import { claimPort } from './ports.ts'
import { isLinkedTo } from './redis-replication.ts'
import { credentials, type RedisServer, startRedisOn } from './redis-server.ts'
import { fields, records } from './sentinel-reply.ts'
import { startTogether } from './start-together.ts'
import type { TlsFiles } from './test-ca.ts'
import { waitUntil } from './wait-until.ts'

export interface SentinelOptions {
  /** Default 2. */
  readonly replicas?: number
  /** Default 3. */
  readonly sentinels?: number
  /** How long a master is silent before a Sentinel takes it for down. Default 1000. */
  readonly downAfterMs?: number
  /** Of the default user on master and replicas. */
  readonly password?: string
  /** Of the default user on the Sentinels. */
  readonly sentinelPassword?: string
  /** On all of them. */
  readonly tls?: 'server' | 'mutual'
}

const masterName = 'mymaster'
// How long Sentinel gives each step of a failover; it begins again after twice that, when votes were split.
const failoverTimeoutMs = 3_000
// Sentinel makes a replica of an old master that came back after 8 s, and looks at it every 10 s.
const slowDeadlineMs = 40_000

/**
 * A master, its replicas, and Sentinels that watch them. Resolves when every Sentinel knows all replicas and
 * all other Sentinels: a master that dies before is never replaced.
 */
export async function startSentinel(options: SentinelOptions = {}): Promise<RedisSentinel> {
  const { replicas = 2, sentinels = 3 } = options
  await using started = new AsyncDisposableStack()
  const master = started.use(await startNode(options))
  const others = await startTogether(
    started,
    Array.from({ length: replicas }, () => startNode(options, master)),
  )
  // Sentinel sees a replica's link only every 10 s: let its first look find all well.
  await waitUntil('the replicas to be in step', async () => {
    const linked = await Promise.all(others.map((each) => isLinkedTo(each, master.port)))
    return linked.every(Boolean)
  })
  const watchers = await startTogether(
    started,
    Array.from({ length: sentinels }, () => startOneSentinel(options, master)),
  )
  const topology = new RedisSentinel([master, ...others], watchers, options, started.move())
  try {
    await topology.ready()
    return topology
  } catch (error) {
    await topology.stop()
    throw error
  }
}

async function startNode(options: SentinelOptions, master?: RedisServer): Promise<RedisServer> {
  const { password, tls } = options
  return await startRedisOn(await claimPort(), {
    ...(password !== undefined && { password }),
    ...(tls && { tls }),
    config: [
      // Else a master waits 5 s for more replicas before it sends its data.
      ['repl-diskless-sync-delay', '0'],
      ...(password === undefined ? [] : [['masterauth', password]]),
      ...(master ? [['replicaof', '127.0.0.1', String(master.port)]] : []),
    ],
  })
}

async function startOneSentinel(options: SentinelOptions, master: RedisServer): Promise<RedisServer> {
  const { sentinels = 3, downAfterMs = 1_000, password, sentinelPassword, tls } = options
  const quorum = Math.floor(sentinels / 2) + 1
  return await startRedisOn(await claimPort(), {
    ...(sentinelPassword !== undefined && { password: sentinelPassword }),
    ...(tls && { tls }),
    args: ['--sentinel'],
    config: [
      ['sentinel', 'monitor', masterName, '127.0.0.1', String(master.port), String(quorum)],
      ['sentinel', 'down-after-milliseconds', masterName, String(downAfterMs)],
      ['sentinel', 'failover-timeout', masterName, String(failoverTimeoutMs)],
      ...(password === undefined ? [] : [['sentinel', 'auth-pass', masterName, password]]),
    ],
  })
}

export class RedisSentinel {
  /** `redis+sentinel://` (with TLS `rediss+sentinel://`), with the passwords. */
  readonly url: string
  /** What the Sentinels call the master. */
  readonly name: string = masterName
  /** Their ports. */
  readonly sentinels: readonly number[]
  /** The first master and its replicas. */
  readonly nodes: readonly RedisServer[]
  /** For clients, with TLS. */
  readonly tls: TlsFiles | undefined
  readonly #watchers: readonly RedisServer[]
  readonly #started: AsyncDisposableStack

  constructor(
    nodes: readonly RedisServer[],
    watchers: readonly RedisServer[],
    options: SentinelOptions,
    started: AsyncDisposableStack,
  ) {
    const { password, sentinelPassword, tls } = options
    this.nodes = nodes
    this.sentinels = watchers.map(({ port }) => port)
    this.tls = nodes[0]?.tls
    this.#watchers = watchers
    this.#started = started
    const scheme = tls ? 'rediss+sentinel' : 'redis+sentinel'
    const hosts = this.sentinels.map((port) => `127.0.0.1:${port}`).join(',')
    const query =
      sentinelPassword === undefined ? '' : `?sentinelPassword=${encodeURIComponent(sentinelPassword)}`
    this.url = `${scheme}://${credentials('', password)}${hosts}/${masterName}/0${query}`
  }

  /**
   * Waits until all is well: every node is up and in step with one master, and every Sentinel knows that and
   * the other Sentinels. A killed master that was restarted takes up to 20 s, the time Sentinel gives it.
   */
  async ready(): Promise<void> {
    await waitUntil('every Sentinel to know all nodes and each other', () => this.#isReady(), {
      deadlineMs: slowDeadlineMs,
      everyMs: 50,
    })
  }

  /** The server that all running Sentinels name now, be it up or down. */
  async master(): Promise<RedisServer> {
    this.#anyWatcher()
    return await waitUntil('the Sentinels to name the same master', async () => {
      const addresses = await this.#ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', masterName)
      return this.#nodeAt(addresses.map((address) => Array.isArray(address) && Number(address[1])))
    })
  }

  /** Waits for a master other than this: all running Sentinels have finished its failover, and it takes writes. */
  async masterAfter(previous: RedisServer): Promise<RedisServer> {
    const probe = async () => {
      const master = await this.#settledMaster()
      if (!master || master === previous) return undefined
      await refuseIfReadOnly(master)
      return master
    }
    return await waitUntil('another master', probe, { deadlineMs: slowDeadlineMs, everyMs: 50 })
  }

  /**
   * SENTINEL FAILOVER; returns the new master. The old one still takes writes for up to 20 s, which are lost
   * when Sentinel makes it a replica.
   */
  async failover(): Promise<RedisServer> {
    const previous = await this.master()
    await this.#anyWatcher().cli('SENTINEL', 'FAILOVER', masterName)
    return await this.masterAfter(previous)
  }

  /** SIGKILL; returns the dead server, whose restart() makes it a replica of the next master. */
  async killMaster(): Promise<RedisServer> {
    const master = await this.master()
    await master.kill()
    return master
  }

  /** SIGKILL to all that run: clients that are connected to the master go on, and nothing fails over. */
  async killSentinels(): Promise<void> {
    await Promise.all(this.#running().map((watcher) => watcher.kill()))
  }

  /** All of them, with what they knew. */
  async restartSentinels(): Promise<void> {
    await Promise.all(this.#watchers.map((watcher) => watcher.restart()))
  }

  /** SIGSTOP. A Sentinel that was stopped for 2 s distrusts its clock (TILT) and fails nothing over for 30 s. */
  async pauseSentinels(): Promise<void> {
    await Promise.all(this.#running().map((watcher) => watcher.pause()))
  }

  /** SIGCONT. */
  resumeSentinels(): void {
    for (const watcher of this.#watchers) if (watcher.state === 'stopped') watcher.resume()
  }

  /** FLUSHALL on the master, which its replicas follow. */
  async flush(): Promise<void> {
    const master = await this.master()
    await master.flush()
  }

  /** Ends all and removes their data. May be called twice. */
  async stop(): Promise<void> {
    await this.#started.disposeAsync()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #isReady(): Promise<boolean> {
    const master = await this.#settledMaster()
    if (!master || this.#running().length < this.#watchers.length) return false
    const [watched, replicas, others] = await Promise.all([
      this.#ask('SENTINEL', 'MASTER', masterName),
      this.#ask('SENTINEL', 'REPLICAS', masterName),
      this.#ask('SENTINEL', 'SENTINELS', masterName),
    ])
    const counts = watched.map(fields)
    const known = [...replicas, ...others].flatMap(records)
    const linked = this.nodes.filter((node) => node !== master).map((node) => isLinkedTo(node, master.port))
    return (
      counts.every((each) => each.get('num-slaves') === String(this.nodes.length - 1)) &&
      counts.every((each) => each.get('num-other-sentinels') === String(this.#watchers.length - 1)) &&
      // Anything more is trouble: s_down, disconnected.
      known.every((each) => each.get('flags') === 'slave' || each.get('flags') === 'sentinel') &&
      (await Promise.all(linked)).every(Boolean)
    )
  }

  /** The master of all running Sentinels, if none of them thinks it down or is busy with a failover. */
  async #settledMaster(): Promise<RedisServer | undefined> {
    const watched = (await this.#ask('SENTINEL', 'MASTER', masterName)).map(fields)
    if (watched.some((each) => each.get('flags') !== 'master')) return undefined
    return this.#nodeAt(watched.map((each) => Number(each.get('port'))))
  }

  /** The node at that port, when all say the same. */
  #nodeAt(ports: readonly unknown[]): RedisServer | undefined {
    return this.nodes.find((node) => ports.length > 0 && ports.every((port) => port === node.port))
  }

  async #ask(command: string, ...args: readonly string[]): Promise<unknown[]> {
    return await Promise.all(this.#running().map((watcher) => watcher.cli(command, ...args)))
  }

  #anyWatcher(): RedisServer {
    const [watcher] = this.#running()
    if (!watcher) throw new Error('no Sentinel is running; restartSentinels() or resumeSentinels() first')
    return watcher
  }

  #running(): RedisServer[] {
    return this.#watchers.filter((watcher) => watcher.state === 'running')
  }
}

/** A write that changes nothing, and fails on a replica like all others. */
async function refuseIfReadOnly(server: RedisServer): Promise<void> {
  await server.cli('DEL', 'testbed:no-such-key')
}
