import { serversAvailable, startRabbitmq } from '@multinode/testbed'
import { afterAll, describe } from 'vitest'
import { runConformance } from './run-conformance.ts'

describe.skipIf(!serversAvailable())('RabbitMQ', async () => {
  const server = await startRabbitmq()
  afterAll(() => server.stop())
  runConformance('rabbitmq', [server])
})
