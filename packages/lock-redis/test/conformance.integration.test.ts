import { lockConformance } from '@multinode/conformance'
import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  startSentinel,
} from '@multinode/testbed'
import { afterAll, describe } from 'vitest'
import { redisLock } from '../src/index.ts'

/** None of them answers, until the returned function is called. */
async function freeze(servers: readonly RedisServer[]): Promise<() => Promise<void>> {
  await Promise.all(servers.map((server) => server.pause()))
  return async () => servers.forEach((server) => server.resume())
}

describe.skipIf(!serversAvailable())('single Redis', async () => {
  const server = await startRedis()
  afterAll(() => server.stop())

  lockConformance('redis', {
    plugin: () => redisLock({ url: server.url }),
    faults: { freeze: () => freeze([server]), loseState: () => server.flush() },
  })
})

describe.skipIf(!serversAvailable())('Redis behind Sentinels', async () => {
  // They must not replace a master that is frozen for a moment.
  const sentinel = await startSentinel({ replicas: 1, downAfterMs: 60_000 })
  afterAll(() => sentinel.stop())

  lockConformance('redis+sentinel', {
    plugin: () => redisLock({ url: sentinel.url }),
    faults: { freeze: async () => freeze([await sentinel.master()]), loseState: () => sentinel.flush() },
  })
})

describe.skipIf(!serversAvailable())('Redis Cluster', async () => {
  const cluster = await startCluster({ masters: 3, nodeTimeoutMs: 10_000 })
  afterAll(() => cluster.stop())

  lockConformance('redis+cluster', {
    plugin: () => redisLock({ url: cluster.url }),
    faults: { freeze: () => freeze(cluster.nodes), loseState: () => cluster.flush() },
  })
})
