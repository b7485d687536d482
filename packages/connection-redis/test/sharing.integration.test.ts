import { pluginContext } from '@multinode/core/testing'
import { serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { openRedis } from '../src/index.ts'

describe.skipIf(!serversAvailable())('sharing connections', async () => {
  const server = await startRedis()
  const inDatabase = (db: number): string => `${server.url.slice(0, -1)}${db}`
  afterAll(() => server.stop())

  /** Without the one that asks. */
  async function clients(): Promise<number> {
    const list = String(await server.cli('CLIENT', 'LIST', 'TYPE', 'normal'))
    return list.trim().split('\n').length - 1
  }

  it('takes one for all drivers of a cluster object on one address, until the last lets go', async () => {
    const context = pluginContext({ address: { url: server.url, source: 'REDIS_URL' } })
    const shares = await Promise.all([
      openRedis({}, context),
      openRedis({ url: server.url }, context),
      openRedis({ url: server.url.replace('/0', '') }, context),
    ])
    const [first, second, third] = shares
    expect(await clients()).toBe(1)
    expect(second.connection).toBe(first.connection)
    await first.release()
    await first.release()
    await second.release()
    expect(await third.connection.command('PING', [], 1_000)).toBe('PONG')
    await third.release()
    await waitUntil('the server to see nobody', async () => (await clients()) === 0)
    await expect(third.connection.ping(1_000)).rejects.toMatchObject({ code: 'CLOSED', outcome: 'not-sent' })
    const again = await openRedis({}, context)
    await again.connection.ping(1_000)
    await again.release()
  })

  it('keeps databases apart', async () => {
    const context = pluginContext()
    const zero = await openRedis({ url: inDatabase(0) }, context)
    const one = await openRedis({ url: inDatabase(1) }, context)
    expect(await clients()).toBe(2)
    await zero.connection.command('SET', ['k', 'zero'], 1_000)
    expect(await one.connection.command('GET', ['k'], 1_000)).toBeNull()
    await Promise.all([zero.release(), one.release()])
    await waitUntil('the server to see nobody', async () => (await clients()) === 0)
  })

  it('keeps cluster objects apart', async () => {
    const shares = await Promise.all([1, 2].map(() => openRedis({ url: server.url }, pluginContext())))
    expect(await clients()).toBe(2)
    await Promise.all(shares.map((share) => share.release()))
    await waitUntil('the server to see nobody', async () => (await clients()) === 0)
  })

  it('opens none of its own beside a client of the app, and leaves that open', async () => {
    const client = new Redis(server.url)
    const context = pluginContext()
    const shares = await Promise.all([openRedis({ client }, context), openRedis({ client }, context)])
    expect(await clients()).toBe(1)
    for (const share of shares) {
      expect(await share.connection.command('PING', [], 1_000)).toBe('PONG')
      await share.release()
    }
    expect(await client.ping()).toBe('PONG')
    client.disconnect()
  })

  it('does not keep a failed connection: the next caller tries anew', async () => {
    const context = pluginContext({ connectTimeoutMs: 300 })
    await server.kill()
    const opened = await Promise.allSettled([1, 2].map(() => openRedis({ url: server.url }, context)))
    expect(opened.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    await server.restart()
    const share = await openRedis({ url: server.url }, { ...context, connectTimeoutMs: 30_000 })
    await share.connection.ping(1_000)
    await share.release()
  })
})
