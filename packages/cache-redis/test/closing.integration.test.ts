import { setTimeout as sleep } from 'node:timers/promises'
import { type RedisServer, serversAvailable, spawnNode, startRedis, waitUntil } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { node } from './node.ts'

const closer = new URL('fixtures/closer.ts', import.meta.url)

describe.skipIf(!serversAvailable()).concurrent('close', () => {
  async function start(server: RedisServer, how = ''): ReturnType<typeof spawnNode> {
    const env = { CACHE_ADAPTER: 'redis', REDIS_URL: server.url, CLUSTER_NAME: 'shop', HOW: how }
    const child = await spawnNode(closer, { env })
    await child.nextLine('ready')
    return child
  }

  it.each([
    ['answers', async () => {}],
    ['is gone', (server: RedisServer) => server.kill()],
    ['is frozen', (server: RedisServer) => server.pause()],
  ])('while Redis %s ends all that is under way, and lets the process end', async (_, fault) => {
    await using server = await startRedis()
    await using child = await start(server)
    await fault(server)
    child.send('close')
    const [, closedMs, code] = (await child.nextLine('closed')).split(' ')
    expect(code).toBe('CLOSED')
    // What it says to Redis has one deadline of a call, which the closer sets to half a second.
    expect(Number(closedMs)).toBeLessThan(2_000)
    const [, endedMs] = (await child.nextLine('ended')).split(' ')
    expect(Number(endedMs)).toBeLessThan(500)
    expect(await child.exited).toEqual({ code: 0, signal: null })
  })

  it('is what lets it end: without it the process goes on, the control', async () => {
    await using server = await startRedis()
    await using child = await start(server, 'left open')
    child.send('close')
    await child.nextLine('closed')
    expect(await Promise.race([child.exited, sleep(1_000, 'goes on')])).toBe('goes on')
  })

  it('closes both connections', async () => {
    await using server = await startRedis()
    const one = await node(server.url)
    expect(await clientsOf(server, one.nodeId)).toBe(2)
    await one.cluster.close()
    // The server hears of it a little later.
    await waitUntil('none', async () => (await clientsOf(server, one.nodeId)) === 0)
  })
})

async function clientsOf(server: RedisServer, name: string): Promise<number> {
  const list = String(await server.cli('CLIENT', 'LIST'))
  return list.split('\n').filter((line) => line.includes(` name=${name} `)).length
}
