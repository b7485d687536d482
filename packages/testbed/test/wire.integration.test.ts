import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { serversAvailable, startMonitor, startRedis, Wire } from '../src/index.ts'

describe.skipIf(!serversAvailable())('what a server is sent', () => {
  it('can be watched from any moment on, also while others send all the time', async () => {
    await using server = await startRedis()
    const busy = new Redis(server.url)
    let isOver = false
    const sending = (async () => {
      while (!isOver) await busy.incr('key')
    })()
    const begun = []
    try {
      for (let round = 0; round < 50; round += 1) {
        const { client, monitor } = await startMonitor(server.url)
        await client.echo('now')
        begun.push(monitor.status)
        for (const each of [monitor, client]) each.disconnect()
      }
    } finally {
      isOver = true
      await sending
    }
    // With `client.monitor()` the first one is cut off, because what others sent came with its answer.
    expect(new Set(begun)).toEqual(new Set(['monitoring']))
    using wire = await Wire.tap(server)
    expect(await wire.during(() => busy.get('key'))).toEqual([['get', 'key']])
    busy.disconnect()
  })
})
