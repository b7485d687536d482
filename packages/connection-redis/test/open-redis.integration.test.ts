import { once } from 'node:events'
import { createServer } from 'node:net'
import { inspect } from 'node:util'
import { pluginContext } from '@multinode/core/testing'
import {
  claimPort,
  serversAvailable,
  spawnNode,
  startRedis,
  stolenMs,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { openRedis } from '../src/index.ts'
import { settled } from './settled.ts'

/** Long enough to tell `at once` from `at the deadline` on a busy machine. */
const connectTimeoutMs = 1_500
const atOnceMs = connectTimeoutMs / 2

function context(options: Parameters<typeof pluginContext>[0] = {}): ReturnType<typeof pluginContext> {
  return pluginContext({ connectTimeoutMs, callTimeoutMs: 1_000, ...options })
}

/** Where it is to succeed, also on a busy machine. */
function patient(options: Parameters<typeof pluginContext>[0] = {}): ReturnType<typeof pluginContext> {
  return context({ connectTimeoutMs: 30_000, ...options })
}

describe.skipIf(!serversAvailable())('opening a connection', async () => {
  const password = 'p/?#@%: ä'
  const server = await startRedis({ password })
  const address = (userInfo: string, path = ''): string =>
    `redis://${userInfo}127.0.0.1:${server.port}${path}`
  afterAll(() => server.stop())

  it('takes its address from the context, percent-escapes and all', async () => {
    const share = await openRedis(
      {},
      patient({ address: { url: `${server.url.slice(0, -1)}7`, source: 'REDIS_URL' } }),
    )
    expect(share.connection.address).toBe(`redis://:***@127.0.0.1:${server.port}/7`)
    expect(await share.connection.command('CLIENT', ['INFO'], 1_000)).toMatch(/ name=node-\w+ .* db=7 /)
    await share.release()
  })

  it('says that an address is needed when nobody gives one', async () => {
    await expect(openRedis({}, context())).rejects.toMatchObject({ code: 'MISCONFIGURED' })
  })

  it.each([
    ['a wrong password', address(':wr0ng@'), 'User or password are wrong'],
    ['a wrong user', address('nobody:wr0ng@'), 'User or password are wrong'],
    ['a user without a password', address('default@'), 'User or password are wrong'],
    ['no password where one is needed', address(''), 'put it into the address'],
    ['a database out of range', server.url.replace(/0$/, '99'), 'Name a database that the server has'],
  ])('refuses %s at once, and leaves nothing open', async (_, url, advice) => {
    const { error, ms } = await settled(openRedis({}, context({ address: { url, source: 'LOCK_URL' } })))
    expect(error).toMatchObject({ code: 'MISCONFIGURED', outcome: 'not-sent', retryable: false })
    expect(String(error)).toContain('(LOCK_URL)')
    expect(String(error)).toContain(advice)
    expect(ms).toBeLessThan(atOnceMs + stolenMs())
    const shown = inspect(error, { depth: 10, showHidden: true })
    for (const secret of ['wr0ng', password, encodeURIComponent(password)])
      expect(shown).not.toContain(secret)
    await waitUntil('the server to see no client but this one', async () => {
      const clients = String(await server.cli('CLIENT', 'LIST'))
      return clients.trim().split('\n').length === 1
    })
  })

  it('keeps the password back where ioredis shows it: the control', async () => {
    const client = new Redis(server.port, { password: 'wr0ng', retryStrategy: () => null })
    const [error] = await once(client, 'error')
    expect(inspect(error, { depth: 10, showHidden: true })).toContain('wr0ng')
  })

  it('does not show the password either when the server quotes a login that it does not know', async () => {
    await using old = await startRedis({
      args: ['--rename-command', 'AUTH', '', '--rename-command', 'HELLO', ''],
    })
    const url = old.url.replace('//', '//bob:s3cr3t@')
    const { error } = await settled(openRedis({ url }, context()))
    expect(String(error)).toContain("unknown command 'auth'")
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('s3cr3t')
  })

  describe.concurrent('gives up', () => {
    it.each([
      ['nobody listens', 'redis://127.0.0.1', 'connect ECONNREFUSED'],
      ['the host is unknown', 'redis://no-such-host.invalid', 'no-such-host.invalid'],
    ])('at the deadline with the last reason when %s', async (_, host, reason) => {
      const free = await claimPort()
      const { error, ms } = await settled(openRedis({ url: `${host}:${free.port}` }, context()))
      free.release()
      expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true, details: { source: 'url' } })
      expect(String(error)).toContain(reason)
      expect(ms).toBeGreaterThan(connectTimeoutMs * 0.7)
      expect(ms).toBeLessThan(connectTimeoutMs * 1.1 + stolenMs())
    })

    it('at the deadline when the server takes connections and never answers', async () => {
      await using proxy = await tcpProxy(server.port)
      proxy.blackhole()
      const url = server.url.replace(String(server.port), String(proxy.port))
      const { error, ms } = await settled(openRedis({ url }, context()))
      expect(error).toMatchObject({ code: 'UNAVAILABLE' })
      expect(ms).toBeGreaterThan(connectTimeoutMs * 0.7)
      // Before core's own deadline, which knows no reason.
      expect(ms).toBeLessThan(connectTimeoutMs + stolenMs())
    })

    it('when what answers is no Redis', async () => {
      const http = createServer((socket) => {
        socket.on('error', () => {}).once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
      })
      const { port, release } = await claimPort()
      http.listen(port, '127.0.0.1')
      await once(http, 'listening')
      const url = `redis://127.0.0.1:${port}`
      const { error } = await settled(openRedis({ url }, context({ connectTimeoutMs: 500 })))
      http.close()
      release()
      expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    })
  })

  it('reaches a server that comes up while it waits', async () => {
    await using late = await startRedis()
    await late.kill()
    const opening = openRedis({ url: late.url }, patient())
    await late.restart()
    const share = await opening
    expect(await share.connection.command('PING', [], 1_000)).toBe('PONG')
    await share.release()
  })

  it('waits for a server that is still loading its data', async () => {
    const debug = ['--enable-debug-command', 'yes', '--loading-process-events-interval-bytes', '1024']
    await using loading = await startRedis({ args: [...debug, '--key-load-delay', '100'] })
    await loading.cli('DEBUG', 'POPULATE', '10000')
    // A second where nothing else runs, because it sleeps for each key: on a busy machine longer than `cli` waits.
    await using client = disposable(new Redis(loading.url))
    const reloading = client.redis.call('DEBUG', 'RELOAD')
    await waitUntil('the server to refuse commands', async () => {
      const reply = await loading.cli('GET', 'key:0').catch(String)
      return String(reply).includes('LOADING')
    })
    const share = await openRedis({ url: loading.url }, patient())
    expect(await share.connection.command('GET', ['key:0'], 1_000)).toBe('value:0')
    await share.release()
    expect(await reloading).toBe('OK')
  })

  it('gives up at once when the start has failed elsewhere', async () => {
    const silent = await claimPort()
    const abort = new AbortController()
    const url = `redis://127.0.0.1:${silent.port}`
    const opening = settled(openRedis({ url }, { ...context(), signal: abort.signal }))
    abort.abort()
    expect((await opening).ms).toBeLessThan(atOnceMs + stolenMs())
    const late = await settled(openRedis({ url }, { ...context(), signal: abort.signal }))
    silent.release()
    expect(late.error).toMatchObject({ message: 'it is not wanted any more' })
    expect(late.ms).toBeLessThan(atOnceMs + stolenMs())
  })

  describe('with a client of the app', () => {
    const options = { enableOfflineQueue: false, maxRetriesPerRequest: 0 }

    it.each([
      ['has just been made', {}],
      ['is told to connect lazily', { lazyConnect: true }],
    ])('waits for one that %s, and leaves it open and without listeners of ours', async (_, more) => {
      await using client = disposable(new Redis(server.url, { ...options, ...more }))
      const before = listeners(client.redis)
      const share = await openRedis({ client: client.redis }, patient())
      expect(await share.connection.command('ECHO', ['hello'], 1_000)).toBe('hello')
      expect(listeners(client.redis)).toBe(before)
      await share.connection.close()
      await share.release()
      expect(await client.redis.ping()).toBe('PONG')
    })

    it.each([
      ['cannot reach its server', { port: 1 }, 'UNAVAILABLE', connectTimeoutMs],
      ['has the wrong password', { password: 'wr0ng' }, 'MISCONFIGURED', atOnceMs],
    ])('rejects when it %s, without its password', async (_, more, code, withinMs) => {
      await using client = disposable(new Redis({ port: server.port, password, ...options, ...more }))
      client.redis.on('error', () => {})
      const { error, ms } = await settled(openRedis({ client: client.redis }, context()))
      expect(error).toMatchObject({ code })
      expect(ms).toBeLessThan(withinMs + stolenMs())
      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('wr0ng')
    })

    it('rejects at once when its owner has closed it', async () => {
      const client = new Redis(server.url, options)
      client.on('error', () => {})
      client.disconnect()
      await once(client, 'end')
      const { error, ms } = await settled(openRedis({ client }, context()))
      expect(error).toMatchObject({ code: 'UNAVAILABLE' })
      expect(ms).toBeLessThan(atOnceMs + stolenMs())
    })
  })

  describe.concurrent('ends by itself soon after', () => {
    const child = new URL('./fixtures/open.ts', import.meta.url)
    const dead = `redis://127.0.0.1:1`

    /** By its own clock. */
    async function endsAfterMs(
      env: Record<string, string>,
      result: string,
      patienceMs = 30_000,
    ): Promise<number> {
      await using node = await spawnNode(child, { env })
      expect(await node.nextLine('result')).toContain(`result ${result} `)
      const ended = await node.nextLine('ended', patienceMs)
      expect(await node.exited).toEqual({ code: 0, signal: null })
      expect(node.output().split('\n')).toHaveLength(3)
      return Number(ended.split(' ')[1])
    }

    // Those that are to connect have time for it: a process that has just begun is slow where others begin beside it.
    it.each([
      ['a success', { REDIS_URL: server.url, CONNECT_TIMEOUT_MS: '10000' }, 'opened'],
      ['a wrong password', { REDIS_URL: address(':wr0ng@'), CONNECT_TIMEOUT_MS: '10000' }, 'MISCONFIGURED'],
      ['a server that is not there', { REDIS_URL: dead, CONNECT_TIMEOUT_MS: '500' }, 'UNAVAILABLE'],
    ])('after %s', async (_, env, result) => {
      expect(await endsAfterMs(env, result)).toBeLessThan(500 + stolenMs())
    })

    it('after a server that never answered', async () => {
      await using proxy = await tcpProxy(server.port)
      proxy.blackhole()
      const url = server.url.replace(String(server.port), String(proxy.port))
      expect(await endsAfterMs({ REDIS_URL: url, CONNECT_TIMEOUT_MS: '500' }, 'UNAVAILABLE')).toBeLessThan(
        500 + stolenMs(),
      )
    })

    it('unless a client is left behind: the control', async () => {
      const env = { REDIS_URL: dead, CONNECT_TIMEOUT_MS: '500', CONTROL: 'bare client' }
      await expect(endsAfterMs(env, 'UNAVAILABLE', 1_500)).rejects.toThrow('no line with ended within')
    })
  })
})

function disposable(redis: Redis): AsyncDisposable & { readonly redis: Redis } {
  return { redis, [Symbol.asyncDispose]: async () => redis.disconnect() }
}

function listeners(client: Redis): number {
  return client.eventNames().reduce((sum, name) => sum + client.listenerCount(name), 0)
}
