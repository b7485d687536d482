import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { claimPort, serversAvailable, startRedis, stolenMs, tcpProxy, waitUntil } from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { type RedisConnection, type RedisOptions, RedisScript } from '../src/index.ts'
import { countOf, resetCounts } from './command-counts.ts'
import { callMs, openWith } from './open-with.ts'
import { settled } from './settled.ts'

/** Timers are some tenths of a millisecond early at times. */
const earlyMs = 2
/** So long that there are enough attempts also where this process stands still for two seconds meanwhile. */
const patienceMs = 5_000

interface Listener extends AsyncDisposable {
  readonly addr: string
  /** The time of each connection. */
  readonly timesMs: readonly number[]
}

/** No Redis, but something that is connected to, and treats each connection so. */
async function listen(treat: (socket: Socket) => void): Promise<Listener> {
  const claimed = await claimPort()
  const timesMs: number[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    timesMs.push(performance.now())
    sockets.add(socket.on('error', () => {}))
    treat(socket)
  })
  server.listen(claimed.port, '127.0.0.1')
  await once(server, 'listening')
  return {
    addr: `127.0.0.1:${claimed.port}`,
    timesMs,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      claimed.release()
    },
  }
}

/** How far apart the attempts to connect are until the opening is given up. */
async function gapsMs(
  treat: (socket: Socket) => void,
  options: RedisOptions,
  connectTimeoutMs: number,
): Promise<number[]> {
  await using listener = await listen(treat)
  const opening = openWith({ ...options, addr: listener.addr }, { connectTimeoutMs, callTimeoutMs: 10_000 })
  await expect(opening).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  return listener.timesMs.slice(1).map((time, index) => time - (listener.timesMs[index] ?? 0))
}

function swallow(socket: Socket): void {
  socket.resume()
}

describe.skipIf(!serversAvailable()).concurrent('an attempt to connect', () => {
  it('takes dial_timeout at most when the server takes it and says nothing', async () => {
    const [quick, slow] = await Promise.all([
      gapsMs(swallow, { dial_timeout: 0.2, max_retry_backoff: 20 }, patienceMs),
      gapsMs(swallow, { dial_timeout: 20 }, patienceMs),
    ])
    expect(quick.length).toBeGreaterThan(2)
    // All together: this process may see one of them some ms later than who connected does, and the next one in time.
    const sumMs = quick.reduce((sum, gap) => sum + gap, 0)
    expect(sumMs).toBeGreaterThan(quick.length * (200 - earlyMs))
    expect(slow, 'the control').toEqual([])
  })

  it('takes dial_timeout at most when the server does not even take it', async () => {
    await using server = await startRedis({ args: ['--tcp-backlog', '1'] })
    const addr = `127.0.0.1:${server.port}`
    await server.pause()
    const fillers = Array.from({ length: 8 }, () => connect(server.port, '127.0.0.1').on('error', () => {}))
    // Those that its queue does not hold stay without an answer, as will all that come later.
    await waitUntil('the first to be queued', () => fillers.some(({ connecting }) => !connecting))
    const more = { connectTimeoutMs: 1_500, callTimeoutMs: 10_000 }
    const [quick, slow] = await Promise.all(
      [0.2, 5].map((dialTimeout) => settled(openWith({ addr, dialTimeout }, more))),
    )
    expect(String(quick?.error)).toContain('connect ETIMEDOUT')
    expect(String(slow?.error), 'the control').toContain('no connection')
    for (const filler of fillers) filler.destroy()
    server.resume()
  })

  it('follows the one before after min_retry_backoff, doubled each time', async () => {
    const bounds = { min_retry_backoff: 50, max_retry_backoff: 10_000 }
    const gaps = await gapsMs((socket) => socket.resetAndDestroy(), bounds, patienceMs)
    expect(gaps.length).toBeGreaterThan(2)
    gaps.forEach((gap, index) => expect(gap).toBeGreaterThan(50 * 2 ** index - earlyMs))
  })

  it('follows the one before after max_retry_backoff at the latest, and half of it at the earliest', async () => {
    const bounds = { minRetryBackoff: 100, maxRetryBackoff: 100 }
    const gaps = await gapsMs((socket) => socket.resetAndDestroy(), bounds, patienceMs)
    // 46 to 93 of them, had the machine nothing else to do; 11 at the most with the usual 1,000.
    expect(gaps.length).toBeGreaterThan(20)
    for (const gap of gaps) expect(gap).toBeGreaterThan(50 - earlyMs)
  })
})

describe.skipIf(!serversAvailable())('max_retries', async () => {
  const bump = new RedisScript('bump', "return redis.call('INCR', KEYS[1])")
  const server = await startRedis({ aof: true })
  const addr = `127.0.0.1:${server.port}`
  const often = { addr, max_retries: 1_000, max_retry_backoff: 50 }
  afterAll(() => server.stop())

  async function untilDown(...connections: readonly RedisConnection[]): Promise<void> {
    await waitUntil('the connections to be down', () =>
      connections.every(({ client }) => client.status !== 'ready'),
    )
  }

  it('carries a command and a script over a restart of the server, which are refused at once without', async () => {
    await using patient = await openWith(often)
    await using plain = await openWith({ addr })
    await server.kill()
    await untilDown(patient.connection, plain.connection)
    const waiting = [
      patient.connection.command('INCR', ['n'], 15_000),
      patient.connection.script(bump, ['n'], [], 15_000),
    ]
    for (const call of [
      plain.connection.command('INCR', ['n'], 15_000),
      plain.connection.script(bump, ['n'], [], 15_000),
    ]) {
      const { error, ms } = await settled(call)
      expect(error, 'the control').toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent' })
      expect(ms).toBeLessThan(callMs + stolenMs())
    }
    await server.restart()
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([1, 2]))
    expect(await server.cli('GET', 'n')).toBe('2')
  })

  it('never repeats what may have been carried out', async () => {
    await using proxy = await tcpProxy(server.port)
    await using opened = await openWith({ ...often, addr: `127.0.0.1:${proxy.port}` })
    const { connection } = opened
    const calls = [
      () => connection.command('INCR', ['once'], 5_000),
      () => connection.script(bump, ['once'], [], 5_000),
    ]
    await connection.script(bump, ['other'], [], 5_000)
    for (const [index, call] of calls.entries()) {
      proxy.dropReply()
      await expect(call()).rejects.toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown' })
      // By then a repeated one would have come before this one.
      await connection.command('PING', [], 5_000)
      expect(await server.cli('GET', 'once')).toBe(String(index + 1))
    }
  })

  it('never goes on after the deadline', async () => {
    await using opened = await openWith(often)
    await server.kill()
    await untilDown(opened.connection)
    const { error, ms } = await settled(opened.connection.command('INCR', ['n'], callMs))
    expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent', retryable: true })
    expect(ms).toBeGreaterThan(callMs / 2)
    expect(ms).toBeLessThan(callMs * 1.1 + stolenMs())
    await server.restart()
  })

  it.each([
    [{ max_retries: 2 }, 3],
    [{ max_retries: 0 }, 1],
    [{ max_retries: -1 }, 1],
    [{}, 1],
  ])('with %o sends what the server refuses %i times', async (more, times) => {
    await using replica = await startRedis({ args: ['--replicaof', '127.0.0.1', '1'] })
    await using opened = await openWith({ addr: `127.0.0.1:${replica.port}`, ...more })
    await resetCounts([replica])
    const writing = opened.connection.command('SET', ['k', 'v'], 10_000)
    await expect(writing).rejects.toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent' })
    expect(await countOf(replica, 'set')).toEqual({ calls: 0, refused: times })
  })

  it('does not repeat what will never work', async () => {
    await using opened = await openWith(often)
    await resetCounts([server])
    await server.cli('LPUSH', 'list', 'a')
    await expect(opened.connection.command('INCR', ['list'], callMs)).rejects.toMatchObject({
      code: 'REJECTED',
    })
    expect((await countOf(server, 'incr')).calls).toBe(1)
  })
})
