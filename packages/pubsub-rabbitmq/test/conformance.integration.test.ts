import { pubsubConformance } from '@multinode/conformance'
import { serversAvailable, startRabbitmq, waitUntil } from '@multinode/testbed'
import { afterAll, describe } from 'vitest'
import { rabbitmqPubSub } from '../src/index.ts'

describe.skipIf(!serversAvailable()).each(['stream', 'queue'] as const)('RabbitMQ, mode %s', async (mode) => {
  const server = await startRabbitmq()
  afterAll(() => server.stop())
  const { url } = server

  pubsubConformance(`rabbitmq ${mode}`, {
    plugin: () => rabbitmqPubSub({ url, mode }),
    faults: {
      async freeze() {
        await server.pause()
        return async () => server.resume()
      },
      async loseState() {
        const queues = await server.queues()
        const ofSignals = queues.filter(({ name }) => name.includes('.bus.'))
        for (const { name } of ofSignals) await server.deleteQueue(name)
      },
      cutConnections: async () => {
        await waitUntil('a connection to be cut', async () => (await server.closeConnections()) > 0)
      },
    },
  })
})
