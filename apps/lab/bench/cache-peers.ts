/**
 * Other caches, in two tiers or on Redis alone. bentocache is on ioredis 6, though it asks for 5, with its bus; the other two are on node-redis, by @keyv/redis.
 * What they hold in this process they give out as it is, where that can be said: as ours does, and the fastest that each can do.
 */
import { createKeyv as createRedisKeyv } from '@keyv/redis'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'
import { createCache } from 'cache-manager'
import { Cacheable, createKeyv } from 'cacheable'
import { Redis } from 'ioredis'
import { type BenchValue, type OpenCache, ttlMs } from './cache-side.ts'

const namespace = 'bench'
const mostItems = 100_000

const openBentocache: OpenCache = async (url, tiers) => {
  const connection = new Redis(url)
  const { host = '', port = 0 } = connection.options
  const onRedis = bentostore({ ttl: ttlMs }).useL2Layer(redisDriver({ connection }))
  const inMemory = memoryDriver({ maxItems: mostItems, serialize: false })
  const store =
    tiers === 'redis'
      ? onRedis
      : onRedis.useL1Layer(inMemory).useBus(redisBusDriver({ connection: { host, port } }))
  const bento = new BentoCache({ default: 'all', stores: { all: store } })
  const cache = bento.namespace(namespace)
  return {
    get: (key) => cache.get<BenchValue>({ key }),
    set: (key, value) => cache.set({ key, value }),
    getOrSet: (key, make) => cache.getOrSet({ key, factory: make }),
    clear: () => cache.clear(),
    [Symbol.asyncDispose]: () => bento.disconnectAll(),
  }
}

const openCacheable: OpenCache = async (url, tiers) => {
  const onRedis = createRedisKeyv(url, { namespace })
  const inMemory = createKeyv({ lruSize: mostItems, useClone: false })
  const stores = tiers === 'redis' ? { primary: onRedis } : { primary: inMemory, secondary: onRedis }
  const cache = new Cacheable({ ...stores, ttl: ttlMs })
  return {
    get: (key) => cache.get<BenchValue>(key),
    set: (key, value) => cache.set(key, value),
    getOrSet: (key, make) => cache.getOrSet(key, make),
    clear: () => cache.clear(),
    [Symbol.asyncDispose]: () => cache.disconnect(),
  }
}

const openCacheManager: OpenCache = async (url, tiers) => {
  const onRedis = createRedisKeyv(url, { namespace })
  const inMemory = createKeyv({ lruSize: mostItems, useClone: false })
  const cache = createCache({ stores: tiers === 'redis' ? [onRedis] : [inMemory, onRedis], ttl: ttlMs })
  return {
    get: (key) => cache.get<BenchValue>(key),
    set: (key, value) => cache.set(key, value),
    getOrSet: (key, make) => cache.wrap(key, make),
    clear: () => cache.clear(),
    async [Symbol.asyncDispose]() {
      await cache.disconnect()
    },
  }
}

export const openPeers: Readonly<Record<string, OpenCache>> = {
  bentocache: openBentocache,
  cacheable: openCacheable,
  'cache-manager': openCacheManager,
}
