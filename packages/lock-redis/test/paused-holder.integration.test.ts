import {
  type NodeChild,
  type RedisServer,
  serversAvailable,
  spawnNode,
  startRedis,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Resource } from './fixtures/resource.ts'
import { type Node, node } from './node.ts'

const holderFile = new URL('./fixtures/holder.ts', import.meta.url)

describe.skipIf(!serversAvailable())('a holder that is stopped past its lease', () => {
  let server: RedisServer
  let admin: Redis
  let holder: NodeChild
  let other: Node

  beforeEach(async () => {
    server = await startRedis()
    admin = new Redis(server.url)
    holder = await spawnNode(holderFile, { env: { REDIS_URL: server.url } })
    other = await node(server.url, { clusterName: 'shop' })
    await holder.nextLine('ready')
  })

  afterEach(async () => {
    await holder.stop()
    await other[Symbol.asyncDispose]()
    admin.disconnect()
    await server.stop()
  })

  it('is told so by the first assertHeld of each of its leases, before any timer or event could: 100 of 100', async () => {
    for (let round = 0; round < 2; round += 1) {
      // It has all of them before the first one ends, also where the machine is busy.
      holder.send('spin 1500 50 1500')
      await holder.nextLine('spinning')
      await holder.pause()
      await waitUntil('the leases to expire', async () => (await admin.keys('*:lease')).length === 0)
      holder.resume()
      // The control: their signals have not told it.
      expect(await holder.nextLine('seen')).toBe('seen 50 lost, 0 held, 0 signalled')
    }
    holder.send('spin 60000 25 0')
    expect(await holder.nextLine('seen'), 'the control').toBe('seen 0 lost, 25 held, 0 signalled')
  })

  it('cannot overwrite what its successor wrote, where the resource looks at tokens', async () => {
    expect(await lostUpdates('fenced')).toEqual({ lost: 0, refused: 8 })
    expect(await lostUpdates('unfenced'), 'the control').toEqual({ lost: 8, refused: 0 })
  })

  /** Eight times: the holder reads and is stopped, its successor reads and writes, the holder goes on to write. */
  async function lostUpdates(how: 'fenced' | 'unfenced'): Promise<{ lost: number; refused: number }> {
    await admin.del('resource')
    const resource = new Resource(admin)
    const fence = (token: number): number | undefined => (how === 'fenced' ? token : undefined)
    let accepted = 0
    let refused = 0
    for (let cycle = 0; cycle < 8; cycle += 1) {
      holder.send('acquire 200')
      const token = Number((await holder.nextLine('acquired')).split(' ')[1])
      holder.send(`read ${how}`)
      await holder.nextLine('read')
      await holder.pause()
      const lease = await other.locks.acquire('key', { waitMs: 10_000 })
      expect(lease.token).toBeGreaterThan(token)
      const value = await resource.read(fence(lease.token))
      if (await resource.write(value + 1, fence(lease.token))) accepted += 1
      holder.resume()
      holder.send(`write ${how}`)
      if ((await holder.nextLine(/written|refused/)) === 'written') accepted += 1
      else refused += 1
      expect(await lease.release()).toBe('released')
    }
    return { lost: accepted - (await resource.read(undefined)), refused }
  }
})
