import { cacheConformance } from '@multinode/conformance'
import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  startSentinel,
  type TcpProxy,
  tcpProxy,
} from '@multinode/testbed'
import { afterAll, describe } from 'vitest'
import { redisCache } from '../src/index.ts'

/** None of them answers, until the returned function is called. */
async function freeze(servers: readonly RedisServer[]): Promise<() => Promise<void>> {
  await Promise.all(servers.map((server) => server.pause()))
  return async () => servers.forEach((server) => server.resume())
}

async function refuse(proxy: TcpProxy): Promise<() => Promise<void>> {
  proxy.refuse()
  proxy.reset()
  return async () => proxy.heal()
}

describe.skipIf(!serversAvailable())('single Redis', async () => {
  const server = await startRedis()
  const proxy = await tcpProxy(server.port)
  afterAll(async () => {
    await proxy.close()
    await server.stop()
  })

  cacheConformance('redis', {
    plugin: () => redisCache({ url: `redis://127.0.0.1:${proxy.port}` }),
    faults: { freeze: () => freeze([server]), refuse: () => refuse(proxy) },
  })
})

describe.skipIf(!serversAvailable())('Redis behind Sentinels', async () => {
  // They must not replace a master that is frozen for a moment.
  const sentinel = await startSentinel({ replicas: 1, downAfterMs: 60_000 })
  afterAll(() => sentinel.stop())

  cacheConformance('redis+sentinel', {
    plugin: () => redisCache({ url: sentinel.url }),
    faults: { freeze: async () => freeze([await sentinel.master()]) },
  })
})

describe.skipIf(!serversAvailable())('Redis Cluster', async () => {
  const cluster = await startCluster({ masters: 3, nodeTimeoutMs: 10_000 })
  afterAll(() => cluster.stop())

  cacheConformance('redis+cluster', {
    plugin: () => redisCache({ url: cluster.url }),
    faults: { freeze: () => freeze(cluster.nodes) },
  })
})
