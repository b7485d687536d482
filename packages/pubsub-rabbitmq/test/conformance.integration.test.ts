import { pubsubConformance } from '@multinode/conformance'
import { figure, type RabbitmqServer, serversAvailable, startRabbitmq, waitUntil } from '@multinode/testbed'
import { afterAll, describe } from 'vitest'
import { rabbitmqPubSub } from '../src/index.ts'

async function deleteQueues(server: RabbitmqServer): Promise<void> {
  for (const { name } of await server.queues()) if (name.includes('.bus.')) await server.deleteQueue(name)
}

/** As soon as there is one, so that every cut bites. */
async function cutConnections(servers: readonly RabbitmqServer[]): Promise<void> {
  await waitUntil('a connection to be cut', async () => {
    const counts = await Promise.all(servers.map((server) => server.closeConnections()))
    return counts.some((count) => count > 0)
  })
}

const modes = ['stream', 'queue'] as const

function runOn(
  name: string,
  servers: readonly [RabbitmqServer, ...RabbitmqServer[]],
  modeCount: number = modes.length,
): void {
  const [first] = servers
  const urls = servers.map(({ url }) => url)
  for (const mode of modes.slice(0, modeCount)) {
    pubsubConformance(`${name}, mode ${mode}`, {
      plugin: () => rabbitmqPubSub({ urls, mode }),
      faults: {
        async freeze() {
          await Promise.all(servers.map((server) => server.pause()))
          return async () => servers.forEach((server) => server.resume())
        },
        loseState: () => deleteQueues(first),
        cutConnections: () => cutConnections(servers),
      },
    })
  }
}

describe.skipIf(!serversAvailable())('RabbitMQ', async () => {
  const server = await startRabbitmq()
  afterAll(() => server.stop())
  runOn('rabbitmq', [server])
})

describe.skipIf(!serversAvailable())('RabbitMQ on three servers', async () => {
  const cluster = await startRabbitmq({ nodes: 3 })
  afterAll(() => cluster.stop())
  const [first, ...others] = cluster.nodes
  if (first === undefined) throw new Error('three were started')
  runOn('rabbitmq cluster', [first, ...others], figure({ slice: 1, full: 2 }))
})
