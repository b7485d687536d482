import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type RedisServer, serversAvailable, startRedis, type TcpProxy, tcpProxy } from '../src/index.ts'

describe.skipIf(!serversAvailable())('tcpProxy in front of Redis', () => {
  let redis: RedisServer
  let proxy: TcpProxy
  let client: Redis
  let errors: Error[]

  beforeAll(async () => {
    redis = await startRedis()
  })

  afterAll(async () => {
    await redis.stop()
  })

  beforeEach(async () => {
    await redis.flush()
    proxy = await tcpProxy(redis.port)
    errors = []
    client = new Redis(proxy.port, { maxRetriesPerRequest: 0, retryStrategy: () => 10 })
    client.on('error', (error) => errors.push(error))
    await client.ping()
  })

  afterEach(async () => {
    client.disconnect()
    await proxy.close()
  })

  // Asked for before the fault, so that the event cannot be missed; events.once() would reject on 'error'.
  const next = (event: 'close' | 'ready') => new Promise<void>((resolve) => client.once(event, resolve))

  it('passes commands on, and counts the connections', async () => {
    expect(await client.incr('n')).toBe(1)
    expect(proxy.connections()).toBe(1)
  })

  it('reset is a connection error, after which the client comes back', async () => {
    const [closed, ready] = [next('close'), next('ready')]
    proxy.reset()
    await closed
    expect(errors).toMatchObject([{ code: 'ECONNRESET' }])
    await ready
    expect(await client.ping()).toBe('PONG')
  })

  it('fin is a close without an error, after which the client comes back', async () => {
    const [closed, ready] = [next('close'), next('ready')]
    proxy.fin()
    await closed
    expect(errors).toEqual([])
    await ready
    expect(await client.ping()).toBe('PONG')
  })

  it('blackhole leaves connections open and silent, and resets them when it ends', async () => {
    client.options.commandTimeout = 200
    proxy.blackhole()
    await expect(client.incr('n')).rejects.toThrow('Command timed out')
    // So short only for what nobody answers.
    delete client.options.commandTimeout
    expect(client.status).toBe('ready')
    expect(await redis.cli('GET', 'n')).toBeNull()
    const [closed, ready] = [next('close'), next('ready')]
    proxy.blackhole(false)
    await closed
    await ready
    expect(await client.incr('n')).toBe(1)
  })

  it('refuse turns new connections away and spares the open ones', async () => {
    proxy.refuse()
    const late = new Redis(proxy.port, { lazyConnect: true, retryStrategy: () => null })
    late.on('error', () => {})
    await expect(late.connect()).rejects.toThrow('Connection is closed')
    expect(await client.ping()).toBe('PONG')
    proxy.heal()
    await late.connect()
    expect(await late.ping()).toBe('PONG')
    late.disconnect()
  })

  it('delay is added in each direction', async () => {
    proxy.delay(60)
    const startMs = performance.now()
    await client.ping()
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(120)
  })

  it('dropReply swallows one answer of a command that was executed once', async () => {
    const ready = next('ready')
    proxy.dropReply()
    await expect(client.incr('n')).rejects.toThrow()
    expect(await redis.cli('GET', 'n')).toBe('1')
    await ready
    expect(await client.incr('n')).toBe(2)
  })

  it('dropReply waits for the answer that matches', async () => {
    proxy.dropReply((chunk) => chunk.includes('needle'))
    expect(await client.set('key', 'needle')).toBe('OK')
    expect(await client.ping()).toBe('PONG')
    await expect(client.get('key')).rejects.toThrow()
  })

  it('passes on that the server was killed, and reaches it again after its restart', async () => {
    const [closed, ready] = [next('close'), next('ready')]
    await redis.kill()
    await closed
    await redis.restart()
    await ready
    expect(await client.ping()).toBe('PONG')
  })
})
