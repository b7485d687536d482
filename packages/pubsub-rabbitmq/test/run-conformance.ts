import { pubsubConformance } from '@multinode/conformance'
import { type RabbitmqServer, waitUntil } from '@multinode/testbed'
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

/** The suite of signals, in the first modes. */
export function runConformance(
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
