import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { Cluster, Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import type { RedisConnection, RedisOptions } from '../src/index.ts'
import { openWith } from './open-with.ts'
import { settled } from './settled.ts'

interface Faults {
  /** How many clients block. */
  blocked(): Promise<number>
  cut(): Promise<void>
  kill(): Promise<void>
  restart(): Promise<void>
}

async function blockedOn(servers: readonly RedisServer[]): Promise<number> {
  const infos = await Promise.all(servers.map((server) => server.cli('INFO', 'clients')))
  return infos.reduce<number>(
    (sum, info) => sum + Number(/^blocked_clients:(\d+)/m.exec(String(info))?.[1]),
    0,
  )
}

/** What a library sends by itself, while it waits for a list that stays empty. */
function block(connection: RedisConnection): Promise<unknown> {
  return connection.client.call('BLPOP', '{q}list', 0)
}

/** What became of a command that blocked before its connection was cut, and of one that came while the server was away. */
async function survive(options: RedisOptions, faults: Faults): Promise<unknown[]> {
  await using opened = await openWith(options, { callTimeoutMs: 30_000 })
  const resending = await opened.connection.duplicate({ resends: true })
  const other = await opened.connection.duplicate({ resends: true })
  const plain = await opened.connection.duplicate()
  const blocked = { resending: settled(block(resending)), plain: settled(block(plain)) }
  await waitUntil('both to block', async () => (await faults.blocked()) === 2)
  await faults.cut()
  expect((await blocked.plain).error, 'the control').toBeInstanceOf(Error)
  await faults.kill()
  await waitUntil('it to be noticed', () => plain.client.status !== 'ready' || plain.client.isCluster)
  // Not behind the one that blocks.
  const counted = settled(other.client.call('INCR', '{q}count'))
  await faults.restart()
  await counted
  await other.client.call('RPUSH', '{q}list', 'a')
  const ends = [await blocked.resending, await counted]
  await Promise.all([resending.close(), plain.close(), other.close()])
  return ends.map(({ value, error }) => error ?? value)
}

describe.skipIf(!serversAvailable()).concurrent('a duplicate that resends', { timeout: 60_000 }, () => {
  it.each(['url', 'client'] as const)(
    'keeps commands until the server is back, and sends again what broke off (%s)',
    async (how) => {
      await using server = await startRedis({ aof: true })
      const client = new Redis(server.url)
      client.on('error', () => {})
      const ends = await survive(how === 'url' ? { url: server.url } : { client }, {
        blocked: () => blockedOn([server]),
        cut: async () => void (await server.cli('CLIENT', 'KILL', 'TYPE', 'normal')),
        kill: async () => void (await server.kill()),
        restart: () => server.restart(),
      })
      client.disconnect()
      expect(ends).toEqual([['{q}list', 'a'], 1])
    },
  )

  it.each(['url', 'client'] as const)('does so on a Cluster (%s)', async (how) => {
    await using cluster = await startCluster()
    const client = new Cluster(cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })))
    client.on('error', () => {})
    const ends = await survive(how === 'url' ? { url: cluster.url } : { client }, {
      blocked: () => blockedOn(cluster.nodes),
      cut: async () => {
        await Promise.all(cluster.nodes.map((node) => node.cli('CLIENT', 'KILL', 'TYPE', 'normal')))
      },
      kill: async () => void (await Promise.all(cluster.nodes.map((node) => node.kill()))),
      restart: async () => void (await Promise.all(cluster.nodes.map((node) => node.restart()))),
    })
    client.disconnect()
    expect(ends).toEqual([['{q}list', 'a'], 1])
  })

  it('is closed at once with commands that wait, which fail', async () => {
    await using server = await startRedis()
    await using opened = await openWith({ url: server.url })
    const resending = await opened.connection.duplicate({ resends: true })
    await server.kill()
    await waitUntil('it to be down', () => resending.client.status !== 'ready')
    const waiting = settled(resending.client.call('PING'))
    const { ms } = await settled(resending.close())
    expect(ms).toBeLessThan(500 + stolenMs())
    expect((await waiting).error).toBeInstanceOf(Error)
  })
})

describe.skipIf(!serversAvailable())('what a library sends on the client', () => {
  it('has a deadline by run, and errors of ours', async () => {
    await using server = await startRedis()
    await using opened = await openWith({ url: server.url })
    const { connection } = opened
    expect(await connection.run('PING', 1_000, () => connection.client.ping())).toBe('PONG')
    await connection.client.set('text', 'none')
    const refused = await settled(connection.run('RPUSH', 1_000, () => connection.client.rpush('text', 'a')))
    expect(refused.error).toMatchObject({ code: 'REJECTED', message: expect.stringContaining('WRONGTYPE') })
    await server.pause()
    const late = await settled(connection.run('PING', 200, () => connection.client.ping()))
    expect(late.error).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
    expect(late.ms).toBeLessThan(400 + stolenMs())
    server.resume()
  })
})
