import { queueConformance } from '@multinode/conformance'
import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  startSentinel,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, describe } from 'vitest'
import { redisQueue } from '../src/index.ts'

/** None of them answers, until the returned function is called. */
async function freeze(servers: readonly RedisServer[]): Promise<() => Promise<void>> {
  await Promise.all(servers.map((server) => server.pause()))
  return async () => servers.forEach((server) => server.resume())
}

/** As soon as there is one, so that every cut bites. */
async function cutConnections(servers: readonly RedisServer[]): Promise<void> {
  await waitUntil('a connection to be cut', async () => {
    const counts = await Promise.all(servers.map((server) => server.cli('CLIENT', 'KILL', 'TYPE', 'normal')))
    return counts.some((count) => Number(count) > 0)
  })
}

describe.skipIf(!serversAvailable())('single Redis', async () => {
  const server = await startRedis()
  afterAll(() => server.stop())
  const { url } = server

  queueConformance('redis', {
    plugin: () => redisQueue({ url }),
    faults: { freeze: () => freeze([server]), cutConnections: () => cutConnections([server]) },
  })
})

describe.skipIf(!serversAvailable())('Redis behind Sentinels', async () => {
  // They must not replace a master that is frozen for a moment.
  const sentinel = await startSentinel({ replicas: 1, downAfterMs: 60_000 })
  afterAll(() => sentinel.stop())
  const { url } = sentinel

  queueConformance('redis+sentinel', {
    plugin: () => redisQueue({ url }),
    faults: {
      freeze: async () => freeze([await sentinel.master()]),
      cutConnections: async () => cutConnections([await sentinel.master()]),
    },
  })
})

describe.skipIf(!serversAvailable())('Redis Cluster', async () => {
  const cluster = await startCluster({ masters: 3, nodeTimeoutMs: 10_000 })
  afterAll(() => cluster.stop())
  const { url, nodes } = cluster

  queueConformance('redis+cluster', {
    plugin: () => redisQueue({ url }),
    faults: { freeze: () => freeze(nodes), cutConnections: () => cutConnections(nodes) },
  })
})
