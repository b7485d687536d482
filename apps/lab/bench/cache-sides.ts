import { openRedis, type RedisClient } from '@multinode/connection-redis'
import { Cache, PubSub } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { redisCache } from '@multinode/cache-redis'
import { redisPubSub } from '@multinode/pubsub-redis'
import { openPeers } from './cache-peers.ts'
import { type BenchValue, type CacheSide, type OpenCache, ttlMs } from './cache-side.ts'

const clusterName = 'bench'
const maxItems = 100_000

/** The portable type on cache-redis, as one node, with signals on Redis; without a cluster object around it, whose health checks are commands, too. */
const openOurs: OpenCache = async (url, tiers) => {
  const context = pluginContext({ clusterName })
  const signals = await redisPubSub({ url }).create(context)
  const pubsub = new PubSub(signals, {
    ...capabilityContext('pubsub', 'redis', { clusterName }),
    node: context.node,
  })
  const driver = await redisCache({ url }).create(context)
  const cache = new Cache(driver, {
    ...capabilityContext('cache', 'redis', { clusterName, pubsub }),
    node: context.node,
  })
  const l1 = tiers === 'both' ? { maxItems } : false
  const values = cache.namespace<BenchValue>('bench', { ttlMs, l1, timeoutMs: 5_000 })
  return {
    get: (key) => values.get(key),
    set: (key, value) => values.set(key, value),
    getOrSet: (key, make) => values.getOrSet(key, make),
    clear: () => values.clear(),
    async [Symbol.asyncDispose]() {
      await cache.close()
      await driver.close()
      await pubsub.close()
      await signals.close()
    },
  }
}

const prefix = 'raw:'

/** What one writes without a library: GET and SET on the client that ours has, too, and a Map with the time at which each value expires. */
const openRaw: OpenCache = async (url, tiers) => {
  const share = await openRedis({ url }, pluginContext())
  const onRedis = rawOnRedis(share.connection.client)
  const side = tiers === 'redis' ? onRedis : withMap(onRedis)
  return { ...side, [Symbol.asyncDispose]: () => share.release() }
}

type Verbs = Pick<CacheSide, 'get' | 'set' | 'getOrSet' | 'clear'>

export function rawOnRedis(client: RedisClient): Verbs {
  const get = async (key: string): Promise<BenchValue | undefined> => {
    const text = await client.get(prefix + key)
    return text === null ? undefined : JSON.parse(text)
  }
  const set = (key: string, value: BenchValue): Promise<unknown> =>
    client.set(prefix + key, JSON.stringify(value), 'PX', ttlMs)
  return {
    get,
    set,
    async getOrSet(key, make) {
      const found = await get(key)
      if (found !== undefined) return found
      const made = await make()
      await set(key, made)
      return made
    },
    async clear() {
      let cursor = '0'
      do {
        const [next, keys] = await client.scan(cursor, 'MATCH', `${prefix}*`, 'COUNT', 1_000)
        if (keys.length > 0) await client.unlink(keys)
        cursor = next
      } while (cursor !== '0')
    },
  }
}

function withMap(onRedis: Verbs): Verbs {
  const entries = new Map<string, { readonly value: BenchValue; readonly expiresAtMs: number }>()
  const find = (key: string): BenchValue | undefined => {
    const entry = entries.get(key)
    return entry !== undefined && performance.now() < entry.expiresAtMs ? entry.value : undefined
  }
  const keep = (key: string, value: BenchValue): void => {
    entries.set(key, { value, expiresAtMs: performance.now() + ttlMs })
  }
  return {
    get: (key) => find(key) ?? onRedis.get(key),
    set(key, value) {
      keep(key, value)
      return onRedis.set(key, value)
    },
    getOrSet(key, make) {
      const found = find(key)
      if (found !== undefined) return found
      const making = async (): Promise<BenchValue> => {
        const made = await make()
        keep(key, made)
        return made
      }
      return onRedis.getOrSet(key, making)
    },
    clear() {
      entries.clear()
      return onRedis.clear()
    },
  }
}

/** By name; each has a database of its own, so that nobody looks through the keys of another one. */
const opens = new Map<string, OpenCache>([['ours', openOurs], ['raw', openRaw], ...Object.entries(openPeers)])

export const sideNames: readonly string[] = [...opens.keys()]

export const openSide = (name: string, ...[url, tiers]: Parameters<OpenCache>): Promise<CacheSide> => {
  const open = opens.get(name)
  if (open === undefined) throw new Error(`nobody is called ${name}`)
  return open(new URL(`/${sideNames.indexOf(name)}`, url).href, tiers)
}
