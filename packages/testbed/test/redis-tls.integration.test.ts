import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readTls, type RedisServer, serversAvailable, startRedis } from '../src/index.ts'

const alone = { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 } as const
let errors: Error[]

/** What a client says that connects with these settings and asks PING. */
async function ping(url: string, tls: { ca?: string; cert?: string; key?: string }): Promise<string> {
  errors = []
  const client = new Redis(url, { ...alone, tls })
  client.on('error', (error) => errors.push(error))
  try {
    await client.connect()
    return await client.ping()
  } finally {
    client.disconnect()
  }
}

function filesOf({ tls }: RedisServer): { ca: string; cert: string; key: string } {
  if (!tls) throw new Error('started without tls')
  return readTls(tls)
}

describe.skipIf(!serversAvailable())('startRedis with tls', () => {
  let redis: RedisServer

  beforeAll(async () => {
    redis = await startRedis({ mode: 'single', tls: 'server', password: 'secret' })
  })

  afterAll(async () => {
    await redis.stop()
  })

  it('serves a client that knows the authority', async () => {
    expect(redis.url).toBe(`rediss://:secret@127.0.0.1:${redis.port}/0`)
    expect(await ping(redis.url, { ca: filesOf(redis).ca })).toBe('PONG')
    expect(await redis.cli('PING')).toBe('PONG')
  })

  it('is refused by a client that does not', async () => {
    await expect(ping(redis.url, {})).rejects.toThrow('Connection is closed')
    expect(errors).toMatchObject([{ code: 'SELF_SIGNED_CERT_IN_CHAIN' }])
  })

  it('refuses a client without TLS', async () => {
    const client = new Redis(redis.port, alone)
    client.on('error', () => {})
    await expect(client.connect()).rejects.toThrow('Connection is closed')
  })

  it('has the same authority as the other servers of this process', async () => {
    await using other = await startRedis({ tls: 'server' })
    expect(other.tls).toEqual(redis.tls)
  })
})

describe.skipIf(!serversAvailable())('startRedis with mutual tls', () => {
  let redis: RedisServer

  beforeAll(async () => {
    redis = await startRedis({ tls: 'mutual' })
  })

  afterAll(async () => {
    await redis.stop()
  })

  it('serves a client with a certificate of the authority', async () => {
    expect(await ping(redis.url, filesOf(redis))).toBe('PONG')
  })

  it('refuses a client without one', async () => {
    await expect(ping(redis.url, { ca: filesOf(redis).ca })).rejects.toThrow('Connection is closed')
  })

  it('comes back after a restart', async () => {
    await redis.restart()
    expect(await ping(redis.url, filesOf(redis))).toBe('PONG')
  })
})
