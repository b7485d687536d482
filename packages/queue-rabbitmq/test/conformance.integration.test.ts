import { queueConformance } from '@multinode/conformance'
import { serversAvailable, startRabbitmq, waitUntil } from '@multinode/testbed'
import { afterAll, describe } from 'vitest'
import { rabbitmqQueue } from '../src/index.ts'

describe.skipIf(!serversAvailable())('RabbitMQ', async () => {
  const server = await startRabbitmq()
  afterAll(() => server.stop())
  const { url } = server

  queueConformance('rabbitmq', {
    plugin: () => rabbitmqQueue({ url }),
    faults: {
      async freeze() {
        await server.pause()
        return async () => server.resume()
      },
      async cutConnections() {
        // As soon as there is one, so that every cut bites.
        await waitUntil('a connection to be cut', async () => (await server.closeConnections()) > 0)
      },
    },
  })
})
