import { lockConformance } from '@multinode/conformance'
import { serversAvailable, startRedis } from '@multinode/testbed'
import { afterAll, describe } from 'vitest'
import { redisLock } from '../src/index.ts'

describe.skipIf(!serversAvailable())('single Redis', async () => {
  const server = await startRedis()
  afterAll(() => server.stop())

  lockConformance('redis', {
    plugin: () => redisLock({ url: server.url }),
    faults: {
      async freeze() {
        await server.pause()
        return async () => server.resume()
      },
      loseState: () => server.flush(),
    },
  })
})
