import { workerIdConformance } from '@multinode/conformance'
import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  startSentinel,
} from '@multinode/testbed'
import { afterAll, describe, vi } from 'vitest'
import { redisWorkerIds } from '../src/index.ts'

// Most cases only wait, on three servers at the same time. Many more at once would be a burst of connections, and no test of worker ids.
vi.setConfig({ maxConcurrency: 12 })

/** None of them answers, until the returned function is called. */
async function freeze(servers: readonly RedisServer[]): Promise<() => Promise<void>> {
  await Promise.all(servers.map((server) => server.pause()))
  return async () => servers.forEach((server) => server.resume())
}

// Each has servers of its own, and mostly waits.
describe.skipIf(!serversAvailable()).concurrent('single Redis', async () => {
  const server = await startRedis()
  afterAll(() => server.stop())

  workerIdConformance('redis', {
    plugin: () => redisWorkerIds({ url: server.url }),
    faults: { freeze: () => freeze([server]), loseState: () => server.flush() },
  })
})

describe.skipIf(!serversAvailable()).concurrent('Redis behind Sentinels', async () => {
  // They must not replace a master that is frozen for a moment.
  const sentinel = await startSentinel({ replicas: 1, downAfterMs: 60_000 })
  afterAll(() => sentinel.stop())

  workerIdConformance('redis+sentinel', {
    plugin: () => redisWorkerIds({ url: sentinel.url }),
    faults: { freeze: async () => freeze([await sentinel.master()]), loseState: () => sentinel.flush() },
  })
})

describe.skipIf(!serversAvailable()).concurrent('Redis Cluster', async () => {
  const cluster = await startCluster({ masters: 3, nodeTimeoutMs: 10_000 })
  afterAll(() => cluster.stop())

  workerIdConformance('redis+cluster', {
    plugin: () => redisWorkerIds({ url: cluster.url }),
    faults: { freeze: () => freeze(cluster.nodes), loseState: () => cluster.flush() },
  })
})
