import { join } from 'node:path'
import { pluginContext } from '@multinode/core/testing'
import {
  serversAvailable,
  startRedis,
  startSentinel,
  stolenMs,
  temporaryFolder,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { openRedis, type RedisConnection, type RedisOptions } from '../src/index.ts'
import { callMs, openWith } from './open-with.ts'
import { settled } from './settled.ts'

async function info(connection: RedisConnection): Promise<string> {
  return String(await connection.command('CLIENT', ['INFO'], callMs))
}

describe.skipIf(!serversAvailable())('a unix socket', async () => {
  const password = 's3cr3t /?#@'
  const folder = temporaryFolder('socket')
  const path = join(folder.path, 'redis.sock')
  const server = await startRedis({ password, args: ['--unixsocket', path] })
  afterAll(async () => {
    await server.stop()
    folder.remove()
  })

  it.each<[string, RedisOptions]>([
    ['an address', { url: `unix://:${encodeURIComponent(password)}@${path}?db=2` }],
    ['settings', { network: 'unix', addr: path, password, db: 2 }],
  ])('is reached by %s, in its database and with the password', async (_, options) => {
    await using opened = await openWith(options)
    const { connection } = opened
    expect(await info(connection)).toContain(` addr=${path}:0 `)
    expect(await info(connection)).toContain(' db=2 ')
    expect(connection.address).toBe(`unix://:***@${path}?db=2`)
    await connection.command('SET', ['k', 'v'], callMs)
    expect(await server.cli('GET', 'k'), 'database 0').toBeNull()
  })

  it('is not what a host and a port lead to: the control', async () => {
    await using opened = await openWith({ addr: `127.0.0.1:${server.port}`, password, db: 2 })
    expect(await info(opened.connection)).toMatch(/ addr=127\.0\.0\.1:\d+ /)
  })

  it('refuses a wrong password and a database that is not there', async () => {
    const wrong = { network: 'unix', addr: path } as const
    await expect(openWith({ ...wrong, password: 'wr0ng' })).rejects.toMatchObject({ code: 'MISCONFIGURED' })
    await expect(openWith({ ...wrong, password, db: 99 })).rejects.toMatchObject({ code: 'MISCONFIGURED' })
  })

  it('is UNAVAILABLE at the deadline when it is not there, and named', async () => {
    const connectTimeoutMs = 1_000
    const url = `unix://${path}.not-there`
    const { error, ms } = await settled(openWith({ url }, { connectTimeoutMs }))
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
    expect(String(error)).toContain(`${path}.not-there`)
    expect(String(error)).toContain('ENOENT')
    expect(ms).toBeGreaterThan(connectTimeoutMs * 0.7)
    expect(ms).toBeLessThan(connectTimeoutMs * 1.1 + stolenMs())
  })
})

describe.skipIf(!serversAvailable())('who a connection is', async () => {
  const users = [{ name: 'app', password: 'of-app', rules: '~* +@all' }]
  const server = await startRedis({ password: 's3cr3t', users })
  const addr = `127.0.0.1:${server.port}`
  afterAll(() => server.stop())

  it('has the client name of its settings, else the node id', async () => {
    const login = { addr, password: 's3cr3t' }
    await using named = await openWith({ ...login, client_name: 'billing:7' })
    await using unnamed = await openWith(login)
    expect(await info(named.connection)).toContain(' name=billing:7 ')
    expect(await info(unnamed.connection)).toContain(` name=${unnamed.nodeId} `)
  })

  it('logs in as its user, else as the default one, in its database', async () => {
    await using app = await openWith({ addr, user: 'app', password: 'of-app', db: 3 })
    await using other = await openWith({ addr, password: 's3cr3t' })
    expect(await app.connection.command('ACL', ['WHOAMI'], callMs)).toBe('app')
    expect(await other.connection.command('ACL', ['WHOAMI'], callMs)).toBe('default')
    expect(await info(app.connection)).toContain(' db=3 ')
    expect(await info(other.connection)).toContain(' db=0 ')
  })
})

describe.skipIf(!serversAvailable())('who asks the Sentinels', async () => {
  const sentinel = await startSentinel({ replicas: 0, sentinels: 1, password: 'of-master' })
  const sentinelAddrs = sentinel.sentinels.map((port) => `127.0.0.1:${port}`)
  const common = {
    mode: 'sentinel',
    sentinelAddrs,
    masterName: sentinel.name,
    password: 'of-master',
  } as const
  const admin = new Redis({ port: sentinel.sentinels[0] ?? 0 })
  await admin.call('ACL', 'SETUSER', 'watcher', 'on', '>of-watcher', '+@all')
  await admin.call('ACL', 'SETUSER', 'default', 'resetpass', '>of-default')
  afterAll(async () => {
    admin.disconnect()
    await sentinel.stop()
  })

  it('is their user, and not that of the master', async () => {
    const login = { sentinel_username: 'watcher', sentinel_password: 'of-watcher' }
    await using opened = await openWith({ ...common, ...login, db: 4 })
    expect(await opened.connection.command('ACL', ['WHOAMI'], callMs)).toBe('default')
    expect(await info(opened.connection)).toContain(' db=4 ')
    // On a connection of its own, which is not waited for.
    await waitUntil('their user', async () =>
      String(await admin.call('CLIENT', 'LIST')).includes(' user=watcher '),
    )
  })

  it('is their default user when only a password is given', async () => {
    await using opened = await openWith({ ...common, sentinelPassword: 'of-default' })
    await opened.connection.ping(callMs)
    await expect(openWith({ ...common, sentinelPassword: 'of-watcher' })).rejects.toMatchObject({
      code: 'MISCONFIGURED',
    })
  })
})

describe.skipIf(!serversAvailable())('settings of a pool', async () => {
  const server = await startRedis()
  const addr = `127.0.0.1:${server.port}`
  const pool = { pool_size: 10, poolFifo: true, minIdleConns: 2, max_idle_conns: 5 }
  afterAll(() => server.stop())

  /** Without the one that asks. */
  async function clients(): Promise<number> {
    const list = String(await server.cli('CLIENT', 'LIST', 'TYPE', 'normal'))
    return list.trim().split('\n').length - 1
  }

  it('have no effect, and one warning names them all', async () => {
    await using opened = await openWith({ addr, ...pool })
    expect(opened.warnings).toEqual([
      `Redis at redis://${addr}/0: pool_size, pool_fifo, min_idle_conns, max_idle_conns have no effect, ` +
        'because one connection carries all commands.',
    ])
    const many = Array.from({ length: 50 }, () => opened.connection.command('PING', [], callMs))
    expect(new Set(await Promise.all(many))).toEqual(new Set(['PONG']))
    expect(await clients()).toBe(1)
    await using plain = await openWith({ addr })
    expect(plain.warnings, 'the control').toEqual([])
  })

  it('are warned of once for all that share the connection, and its duplicates', async () => {
    const warnings: string[] = []
    const context = { ...pluginContext(), warn: (text: string) => warnings.push(text) }
    const shares = await Promise.all([1, 2].map(() => openRedis({ addr, poolSize: 3 }, context)))
    const duplicate = await shares[0]?.connection.duplicate()
    expect(shares[1]?.connection).toBe(shares[0]?.connection)
    expect(warnings).toEqual([expect.stringContaining('pool_size has no effect')])
    await duplicate?.close()
    await Promise.all(shares.map((share) => share.release()))
  })
})

describe.skipIf(!serversAvailable())('drivers share a connection', async () => {
  const server = await startRedis()
  const addr = `127.0.0.1:${server.port}`
  afterAll(() => server.stop())

  it.each<[string, RedisOptions, RedisOptions]>([
    ['given as an address and as settings', { url: `redis://${addr}/1` }, { addr, db: 1 }],
    ['in both spellings', { addr, maxRetries: 3 }, { addr, max_retries: 3 }],
    ['with what is the default anyway', { addr }, { addr, min_retry_backoff: 25, mode: 'single' }],
  ])('when the settings are the same, %s', async (_, one, other) => {
    const context = pluginContext()
    const shares = [await openRedis(one, context), await openRedis(other, context)]
    expect(shares[1]?.connection).toBe(shares[0]?.connection)
    await Promise.all(shares.map((share) => share.release()))
  })

  it.each<[string, RedisOptions]>([
    ['max_retries', { maxRetries: 3 }],
    ['client_name', { clientName: 'other' }],
    ['route_randomly', { routeRandomly: true }],
    ['dial_timeout', { dialTimeout: 1 }],
    ['max_retry_backoff', { maxRetryBackoff: 50 }],
  ])('but not with another %s', async (_, more) => {
    const context = pluginContext()
    const shares = [await openRedis({ addr }, context), await openRedis({ addr, ...more }, context)]
    expect(shares[1]?.connection).not.toBe(shares[0]?.connection)
    await Promise.all(shares.map((share) => share.release()))
  })
})
