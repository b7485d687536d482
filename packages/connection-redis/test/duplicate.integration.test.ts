import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  startSentinel,
  stolenMs,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Cluster, Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import type { RedisConnection, RedisOptions } from '../src/index.ts'
import { callMs, openWith } from './open-with.ts'
import { settled } from './settled.ts'

/** So short that the link of a command that blocks is cut before its answer, unless it is known to block. */
const shortCallMs = 600
/** Twice as long as an unaware link may be silent; one that is aware of it may for 1.2 s more, in which a busy machine may be late. */
const blockMs = 2_400
const patienceMs = 10_000

const users = [{ name: 'app', password: 's3cr3t', rules: '~* &* +@all' }]

/** What of a connection a server shows that its duplicate has too. */
async function identity(connection: RedisConnection): Promise<string> {
  const info = String(await connection.command('CLIENT', ['INFO'], callMs))
  return info.replaceAll(/ ?\b(?!name=|db=|user=)[\w-]+=\S*/g, '').trim()
}

function read(connection: RedisConnection): Promise<unknown> {
  return connection.command('GET', ['{q}'], patienceMs)
}

function pop(connection: RedisConnection, seconds: number): Promise<unknown> {
  return connection.command('BLPOP', ['{q}list', seconds], patienceMs)
}

function itBlocksAlone(options: () => RedisOptions, expected: RegExp): void {
  it('lets commands of the first connection pass while it blocks', async () => {
    await using opened = await openWith(options())
    const { connection } = opened
    const duplicate = await connection.duplicate({ blockMs: 3_000 })
    let isOver = false
    const popped = pop(duplicate, 3).finally(() => (isOver = true))
    await read(connection)
    expect(isOver).toBe(false)
    await connection.command('RPUSH', ['{q}list', 'a'], callMs)
    expect(await popped).toEqual(['{q}list', 'a'])

    const ended: string[] = []
    const blocking = pop(connection, 0.5).then(() => ended.push('blocking'))
    await Promise.all([blocking, read(connection).then(() => ended.push('other'))])
    expect(ended, 'the control: on one connection').toEqual(['blocking', 'other'])
    await duplicate.close()
  })

  it('is not cut while it blocks, where another one is', async () => {
    await using opened = await openWith(options(), { callTimeoutMs: shortCallMs })
    const { connection } = opened
    const duplicate = await connection.duplicate({ blockMs })
    const unaware = await connection.duplicate()
    const stream = ['BLOCK', blockMs, 'STREAMS', '{q}stream', '$']
    const [popped, streamed, cut] = await Promise.all([
      settled(pop(duplicate, blockMs / 1_000)),
      settled(connection.duplicate({ blockMs }).then((other) => readStream(other, stream))),
      settled(pop(unaware, blockMs / 1_000)),
    ])
    expect(popped).toMatchObject({ value: null, error: undefined })
    expect(streamed).toMatchObject({ value: null, error: undefined })
    expect(cut.error, 'the control').toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown' })
    await duplicate.close()
    await unaware.close()
  })

  it('has name, user and database of the first connection, and is closed by itself', async () => {
    await using opened = await openWith(options())
    const { connection } = opened
    const [one, two] = [await connection.duplicate(), await connection.duplicate()]
    const three = await two.duplicate()
    expect(await identity(connection)).toMatch(expected)
    expect(await identity(one)).toBe(await identity(connection))
    expect(await identity(three)).toBe(await identity(connection))
    expect(one.address).toBe(connection.address)
    await one.close()
    await expect(read(one)).rejects.toMatchObject({ code: 'CLOSED' })
    await read(connection)
    await two.close()
    await read(three)
    await three.close()
  })

  it('goes on when the first connection is closed', async () => {
    const opened = await openWith(options())
    const duplicate = await opened.connection.duplicate()
    await opened[Symbol.asyncDispose]()
    expect(await duplicate.command('PING', [], callMs)).toBe('PONG')
    await duplicate.close()
  })
}

async function readStream(
  connection: RedisConnection,
  words: readonly (string | number)[],
): Promise<unknown> {
  try {
    return await connection.command('XREAD', words, patienceMs)
  } finally {
    await connection.close()
  }
}

/** The last thing, because the servers do not come back. */
function itIsRefusedAtOnceWhileDown(
  options: () => RedisOptions,
  servers: readonly RedisServer[],
  queueing: Redis | Cluster,
): void {
  it('is refused at once while all servers are down', async () => {
    await using opened = await openWith(options())
    const duplicate = await opened.connection.duplicate()
    await read(duplicate)
    await Promise.all(servers.map((server) => server.kill()))
    await waitUntil('it to be down', async () => {
      // A Cluster's client finds that out of each node when it is asked.
      const { error, ms } = await settled(read(duplicate))
      expect(error).toMatchObject({ code: 'UNAVAILABLE' })
      expect(ms).toBeLessThan(callMs + stolenMs())
      return duplicate.client.status !== 'ready'
    })
    let isOver = false
    void settled(queueing.get('{q}')).then(() => (isOver = true))
    const { error, ms } = await settled(read(duplicate))
    expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent', retryable: true })
    expect(ms).toBeLessThan(callMs + stolenMs())
    expect(isOver, 'the control: a client that queues').toBe(false)
    await duplicate.close()
  })
}

/** All that could keep a command from settling, or end one that blocks for {@link blockMs}. So long that a control that is late goes on, too. */
const appsOwn = { enableOfflineQueue: true, maxRetriesPerRequest: null, commandTimeout: 2_000 }

describe.skipIf(!serversAvailable())('a duplicate on a single server', async () => {
  const server = await startRedis({ users })
  const client = new Redis(server.url, appsOwn)
  client.on('error', () => {})
  afterAll(async () => {
    client.disconnect()
    await server.stop()
  })
  const options = { url: `${server.urlOf('app').slice(0, -1)}3`, clientName: 'first' }

  itBlocksAlone(() => options, /^name=first db=3 user=app$/)

  it('that has subscribed leaves nothing that rejects unseen when it breaks and is closed as soon as it is back', async () => {
    await using proxy = await tcpProxy(server.port)
    await using opened = await openWith({
      ...options,
      url: options.url.replace(`:${server.port}`, `:${proxy.port}`),
    })
    const duplicate = await opened.connection.duplicate()
    await duplicate.client.subscribe('news')
    const back = new Promise((resolve) => duplicate.client.once('ready', resolve))
    proxy.reset()
    await back
    proxy.reset()
    // What rejects unseen fails the run, too.
    await expect(duplicate.close()).resolves.toBeUndefined()
  })

  it('is UNAVAILABLE in time when the server is away', async () => {
    await using opened = await openWith(options, { connectTimeoutMs: 1_500 })
    await server.kill()
    const { error, ms } = await settled(opened.connection.duplicate())
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
    expect(ms).toBeLessThan(1_650 + stolenMs())
    await server.restart()
  })

  itIsRefusedAtOnceWhileDown(() => options, [server], client)
})

describe.skipIf(!serversAvailable())('a duplicate of a client of the app for one server', async () => {
  const server = await startRedis({ users })
  const client = new Redis(`${server.urlOf('app').slice(0, -1)}3`, { ...appsOwn, connectionName: 'of-app' })
  client.on('error', () => {})
  afterAll(async () => {
    client.disconnect()
    await server.stop()
  })

  itBlocksAlone(() => ({ client }), /^name=of-app db=3 user=app$/)
  itIsRefusedAtOnceWhileDown(() => ({ client }), [server], client)
})

describe.skipIf(!serversAvailable())('a duplicate behind Sentinels', async () => {
  const sentinel = await startSentinel({ replicas: 0, sentinels: 1, password: 's3cr3t' })
  const { name, nodes } = sentinel
  const sentinels = sentinel.sentinels.map((port) => ({ host: '127.0.0.1', port }))
  const client = new Redis({
    ...appsOwn,
    sentinels,
    name,
    password: 's3cr3t',
    db: 3,
    connectionName: 'of-app',
  })
  client.on('error', () => {})
  afterAll(async () => {
    client.disconnect()
    await sentinel.stop()
  })
  const options = { url: sentinel.url.replace(/0$/, '3'), clientName: 'first' }

  describe('of a connection', () => {
    itBlocksAlone(() => options, /^name=first db=3 user=default$/)
  })

  describe('of a client of the app', () => {
    itBlocksAlone(() => ({ client }), /^name=of-app db=3 user=default$/)
    itIsRefusedAtOnceWhileDown(() => ({ client }), nodes, client)
  })
})

describe.skipIf(!serversAvailable())('a duplicate on a Cluster', async () => {
  const cluster = await startCluster({ password: 's3cr3t' })
  const nodes = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  const redisOptions = { ...appsOwn, password: 's3cr3t', connectionName: 'of-app' }
  const client = new Cluster(nodes, { redisOptions, enableOfflineQueue: true })
  client.on('error', () => {})
  afterAll(async () => {
    client.disconnect()
    await cluster.stop()
  })
  const options = { url: cluster.url, clientName: 'first' }

  describe('of a connection', () => {
    itBlocksAlone(() => options, /^name=first db=0 user=default$/)
  })

  describe('of a client of the app', () => {
    itBlocksAlone(() => ({ client }), /^name=of-app db=0 user=default$/)

    it('sends many commands at once to nodes that are not connected yet, whatever the client of the app does', async () => {
      const impatient = new Cluster(nodes, { redisOptions, enableOfflineQueue: false, lazyConnect: true })
      await impatient.connect()
      await using opened = await openWith({ client: impatient })
      const duplicate = await opened.connection.duplicate()
      const keys = Array.from({ length: 30 }, (_, index) => `k${index}`)
      const replies = await Promise.all(keys.map((key) => duplicate.command('SET', [key, 'v'], callMs)))
      expect(replies).toEqual(keys.map(() => 'OK'))
      await duplicate.close()
      impatient.disconnect()
    })

    itIsRefusedAtOnceWhileDown(() => ({ client }), cluster.nodes, client)
  })
})
