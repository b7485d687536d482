import { pluginContext } from '@multinode/core/testing'
import { type RedisServer, serversAvailable, startRedis, stolenMs, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openRedis, type RedisConnection } from '../src/index.ts'
import { settled } from './settled.ts'

const timeoutMs = 5_000

describe.skipIf(!serversAvailable())('commands that are made together', async () => {
  const server: RedisServer = await startRedis()
  afterAll(() => server.stop())

  let connection: RedisConnection
  let client: Redis

  beforeEach(async () => {
    await server.flush()
    ;({ connection } = await openRedis({ url: server.url }, pluginContext()))
    if (!(connection.client instanceof Redis)) throw new TypeError('One server has a client of another kind.')
    client = connection.client
  })
  afterEach(() => connection.close())

  const increment = (key: string): Promise<unknown> => connection.command('INCR', [key], timeoutMs)

  it('leave in groups: the first at once, the last when the running code is done', async () => {
    const first = increment('n')
    expect(client.stream.writableLength, 'left although the code goes on').toBe(0)
    const held: number[] = []
    const others = Array.from({ length: 40 }, () => {
      const answer = increment('n')
      held.push(client.stream.writableLength)
      return answer
    })
    const groups = held.filter((bytes) => bytes === 0).length
    expect(groups, 'the server begins with some while others are made').toBe(2)
    expect(held.at(-1), 'the rest waits for the end of the running code').toBeGreaterThan(0)
    expect(await Promise.all([first, ...others])).toEqual(Array.from({ length: 41 }, (_, index) => index + 1))
  })

  it('leave also when they are made by the answers to others', async () => {
    const loop = async (key: string): Promise<unknown> => {
      for (let count = 0; count < 99; count += 1) await increment(key)
      return increment(key)
    }
    expect(await Promise.all(['a', 'b', 'c'].map(loop))).toEqual([100, 100, 100])
    expect(client.stream.writableCorked).toBe(0)
  })

  it('are rejected at once, and run once at most, when the connection is lost before they leave', async () => {
    const underWay = Array.from({ length: 10 }, (_, index) => settled(increment(`n${index}`)))
    expect(client.stream.writableLength, 'the control: something has not left').toBeGreaterThan(0)
    client.stream.destroy()
    for (const { error, ms } of await Promise.all(underWay)) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown' })
      expect(ms).toBeLessThan(timeoutMs / 2 + stolenMs())
    }
    await waitUntil('the connection to work again', () => connection.ping(timeoutMs).then(() => true))
    expect(await increment('n9'), 'never sent').toBe(1)
    expect(await increment('n0')).toBeLessThanOrEqual(2)
  })

  it('of a client that was handed in leave one by one, as its owner wants it', async () => {
    const own = new Redis(server.url)
    const { connection: onOwn } = await openRedis({ client: own }, pluginContext())
    const both = ['a', 'b'].map((key) => onOwn.command('INCR', [key], timeoutMs))
    expect(own.stream.writableCorked).toBe(0)
    expect(await Promise.all(both)).toEqual([1, 1])
    own.disconnect()
  })
})
