import { pluginContext } from '@multinode/core/testing'
import {
  type RedisServer,
  serversAvailable,
  startRedis,
  stolenMs,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openRedis, type RedisClient, type RedisConnection, RedisScript } from '../src/index.ts'
import { settled } from './settled.ts'

const timeoutMs = 1_000
const echo = new RedisScript('echo', 'return ARGV[1]')

describe.skipIf(!serversAvailable())('commands', async () => {
  const server = await startRedis()
  afterAll(() => server.stop())

  let proxy: TcpProxy
  let connection: RedisConnection
  let bare: Redis

  beforeEach(async () => {
    await server.flush()
    proxy = await tcpProxy(server.port)
    ;({ connection } = await open())
    // What the same fault does to ioredis as it comes: the control.
    bare = new Redis(proxy.port)
    bare.on('error', () => {})
    await bare.ping()
  })

  afterEach(async () => {
    await connection.close()
    bare.disconnect()
    await proxy.close()
  })

  function open(callTimeoutMs = 5_000): ReturnType<typeof openRedis> {
    const url = `redis://127.0.0.1:${proxy.port}`
    return openRedis({ url }, pluginContext({ callTimeoutMs }))
  }

  /** Twenty at once, of both kinds. */
  function many(deadlineMs: number): ReturnType<typeof settled>[] {
    return Array.from({ length: 10 }, (_, index) => [
      settled(connection.command('ECHO', [`echo-${index}`], deadlineMs)),
      settled(connection.script(echo, [], [`script-${index}`], deadlineMs)),
    ]).flat()
  }

  async function untilItWorksAgain(): Promise<void> {
    await waitUntil('the connection to work again', () => connection.command('PING', [], timeoutMs))
    // Each answer belongs to its own question: none of those that came late. How soon it comes is not the point.
    const answers = await Promise.all(many(10 * timeoutMs))
    expect(answers.map(({ value }) => value)).toEqual(
      Array.from({ length: 10 }, (_, index) => [`echo-${index}`, `script-${index}`]).flat(),
    )
  }

  it.each([
    ['a paused server', () => server.pause(), () => server.resume()],
    ['a link that swallows everything', async () => proxy.blackhole(), () => proxy.heal()],
    ['a link that is slower than the deadline', async () => proxy.delay(2 * timeoutMs), () => proxy.heal()],
  ])('end at their deadline on %s, and the connection works again after it', async (_, fault, heal) => {
    let bareEnded = false
    await fault()
    void settled(bare.echo('bare')).then(() => (bareEnded = true))
    for (const { error, ms } of await Promise.all(many(timeoutMs))) {
      expect(error).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown', retryable: true })
      expect(ms).toBeGreaterThan(timeoutMs * 0.98)
      expect(ms).toBeLessThan(timeoutMs * 1.1 + stolenMs())
    }
    expect(bareEnded, 'the control: ioredis waits on').toBe(false)
    heal()
    await untilItWorksAgain()
  })

  it.each([
    ['reset', () => proxy.reset()],
    ['closed', () => proxy.fin()],
  ])('under way are rejected at once when the connection is %s, and not sent again', async (_, cut) => {
    await server.pause()
    const counting = settled(connection.command('INCR', ['ours'], 60_000))
    const others = many(60_000)
    const bareCounting = bare.incr('bare')
    const startedAt = performance.now()
    cut()
    for (const { error } of await Promise.all([counting, ...others])) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown', retryable: true })
    }
    expect(performance.now() - startedAt).toBeLessThan(timeoutMs + stolenMs())
    server.resume()
    await bareCounting
    await untilItWorksAgain()
    expect(Number(await server.cli('GET', 'ours'))).toBeLessThanOrEqual(1)
  })

  it('are refused at once while the server refuses connections, and say why', async () => {
    proxy.refuse()
    proxy.reset()
    await waitUntil('the connection to be down', () => connection.client.status !== 'ready')
    await waitUntil('a reason', async () =>
      String((await settled(connection.ping(timeoutMs))).error).includes('ECONNRESET'),
    )
    for (const { error, ms } of await Promise.all(many(60_000))) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent', retryable: true })
      expect(ms).toBeLessThan(timeoutMs + stolenMs())
    }
    expect(bare.status).not.toBe('ready')
    proxy.heal()
    await untilItWorksAgain()
  })

  it('whose answer is lost have unknown outcome and run once, where ioredis runs them twice', async () => {
    proxy.dropReply()
    await expect(connection.command('INCR', ['ours'], 10 * timeoutMs)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      outcome: 'unknown',
    })
    await untilItWorksAgain()
    expect(await server.cli('GET', 'ours')).toBe('1')
    proxy.dropReply()
    expect(await bare.incr('bare')).toBe(2)
  })

  it('are rejected at once when the server is killed and while it is away, and work after its restart', async () => {
    await server.pause()
    const underWay = many(60_000)
    await server.kill()
    for (const { error, ms } of await Promise.all(underWay)) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown' })
      expect(ms).toBeLessThan(timeoutMs + stolenMs())
    }
    for (const { error, ms } of await Promise.all(many(60_000))) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent' })
      expect(ms).toBeLessThan(timeoutMs + stolenMs())
    }
    await server.restart()
    await untilItWorksAgain()
  })

  it('cut a link that is silent for twice the call deadline, so that the next ones find a new one', async () => {
    const callTimeoutMs = 300
    const { connection: ours } = await open(callTimeoutMs)
    proxy.blackhole()
    const closed = new Promise((resolve) => ours.client.once('close', resolve))
    const startedAt = performance.now()
    await expect(ours.ping(callTimeoutMs)).rejects.toMatchObject({ code: 'TIMEOUT' })
    const bareEcho = bare.echo('bare')
    await closed
    const cutAfterMs = performance.now() - startedAt
    expect(cutAfterMs).toBeGreaterThan(2 * callTimeoutMs * 0.98)
    expect(cutAfterMs).toBeLessThan(2 * callTimeoutMs + timeoutMs + stolenMs())
    expect(bare.status, 'the control: ioredis keeps the dead link').toBe('ready')
    proxy.heal()
    await waitUntil('the connection to work again', () => ours.command('PING', [], callTimeoutMs))
    await bareEcho
    await ours.close()
  })

  it('under way are rejected by a close, which a silent server does not delay', async () => {
    await server.pause()
    const underWay = many(60_000)
    const { ms } = await settled(connection.close())
    expect(ms).toBeLessThan(timeoutMs + stolenMs())
    for (const { error } of await Promise.all(underWay)) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown' })
    }
    await connection.close()
    await expect(connection.ping(timeoutMs)).rejects.toMatchObject({ code: 'CLOSED', outcome: 'not-sent' })
    server.resume()
  })

  it('leave nothing behind of 100 resets: no listener, no timer, no socket', async () => {
    bare.disconnect()
    await waitUntil('one connection', () => proxy.connections() === 1)
    await connection.ping(timeoutMs)
    const before = { listeners: listeners(connection.client), ...resources() }
    for (let round = 0; round < 100; round += 1) {
      const underWay = many(timeoutMs)
      proxy.reset()
      await Promise.all(underWay)
      await waitUntil('a new connection', () => connection.command('PING', [], timeoutMs), {
        everyMs: 5,
      })
    }
    await waitUntil('nothing more than before', () => {
      const { sockets, timers } = resources()
      return sockets <= before.sockets && timers <= before.timers
    })
    expect(listeners(connection.client)).toBe(before.listeners)
    expect(proxy.connections()).toBe(1)
    const left = new Redis(proxy.port)
    await left.ping()
    expect(resources().sockets, 'the control').toBeGreaterThan(before.sockets)
    left.disconnect()
  })
})

describe.skipIf(!serversAvailable())('a script', () => {
  it('is called by its hash, and loaded once per server start and per SCRIPT FLUSH', async () => {
    await using server = await startRedis()
    const { connection } = await openRedis({ url: server.url }, pluginContext())
    const threeTimes = async (): Promise<void> => {
      for (const word of ['a', 'b', 'c']) {
        expect(await connection.script(echo, [], [word], timeoutMs)).toBe(word)
      }
    }
    await threeTimes()
    expect(await calls(server)).toEqual({ evalsha: 3, eval: 1, script: 0 })
    await server.cli('SCRIPT', 'FLUSH')
    await server.cli('CONFIG', 'RESETSTAT')
    await threeTimes()
    expect(await calls(server)).toEqual({ evalsha: 3, eval: 1, script: 0 })
    await server.restart()
    await waitUntil('the connection to work again', () => connection.command('PING', [], timeoutMs))
    await threeTimes()
    expect(await calls(server)).toEqual({ evalsha: 3, eval: 1, script: 0 })
    await connection.close()
  })
})

async function calls(server: RedisServer): Promise<Record<string, number>> {
  const stats = String(await server.cli('INFO', 'commandstats'))
  const names = ['evalsha', 'eval', 'script']
  const counts = names.map((name) => {
    const count = new RegExp(`cmdstat_${name}(?:\\|\\w+)?:calls=(\\d+)`).exec(stats)?.[1]
    return [name, Number(count ?? 0)] as const
  })
  return Object.fromEntries(counts)
}

function listeners(client: RedisClient): number {
  return client.eventNames().reduce((sum, name) => sum + client.listenerCount(name), 0)
}

function resources(): { sockets: number; timers: number } {
  const names = process.getActiveResourcesInfo()
  const count = (wanted: string): number => names.filter((name) => name === wanted).length
  return { sockets: count('TCPSocketWrap'), timers: count('Timeout') }
}
