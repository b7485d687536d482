import type { RedisClient, RedisConnection } from '@multinode/connection-redis'
import type {
  BloomFilterDriver,
  CacheDriver,
  CacheFeatures,
  CacheSpace,
  CounterDriver,
  FileDriver,
  PluginContext,
  Share,
  SpaceDefinition,
} from '@multinode/core'
import { CacheServer, maxBytes } from './cache-server.ts'
import { findEngine, RedisBloomFilters } from './redis-bloom-filters.ts'
import { RedisCounters } from './redis-counters.ts'
import { RedisFiles } from './redis-files.ts'
import { RedisSpace } from './redis-space.ts'

/**
 * A cache on Redis. Values travel on a connection of their own, so that a large one delays nothing else; counters and filters share one with the
 * other adapters of this cluster object on the same address. Proven by `test/conformance.integration.test.ts`.
 */
export class RedisCache implements CacheDriver {
  readonly features: CacheFeatures = { scope: 'cluster', forgetsDeletes: true, maxBytes }
  readonly address: string
  /** The ioredis client underneath; shared with the other adapters of this cluster object on the same address. */
  readonly native: RedisClient
  readonly counters: CounterDriver
  readonly bloomFilters: BloomFilterDriver
  readonly files: FileDriver
  readonly #share: Share<RedisConnection>
  readonly #server: CacheServer

  private constructor(share: Share<RedisConnection>, server: CacheServer, bloomFilters: BloomFilterDriver) {
    const { connection } = share
    this.address = connection.address
    this.native = connection.client
    this.counters = new RedisCounters(connection, server.clusterName)
    this.bloomFilters = bloomFilters
    this.files = new RedisFiles(server.connection, server.clusterName)
    this.#share = share
    this.#server = server
  }

  /** Opens the connection for values. When that fails the share is released. */
  static async open(share: Share<RedisConnection>, context: PluginContext): Promise<RedisCache> {
    const { connection } = share
    try {
      const engine = await findEngine(connection, context.callTimeoutMs)
      const bloomFilters = new RedisBloomFilters(connection, context.node.clusterName, engine)
      const server = new CacheServer(await connection.duplicate({ signal: context.signal }), context)
      return new RedisCache(share, server, bloomFilters)
    } catch (error) {
      await share.release()
      throw error
    }
  }

  open(definition: SpaceDefinition): CacheSpace {
    return new RedisSpace(this.#server, definition)
  }

  async ping(timeoutMs: number): Promise<void> {
    await Promise.all([this.#share.connection.ping(timeoutMs), this.#server.connection.ping(timeoutMs)])
  }

  async close(): Promise<void> {
    await this.#server.connection.close()
    await this.#share.release()
  }
}
