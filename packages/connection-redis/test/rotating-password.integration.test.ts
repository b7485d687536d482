import { inspect } from 'node:util'
import { pluginContext } from '@multinode/core/testing'
import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  startSentinel,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { openRedis, type PasswordFunction, type RedisConnection, type RedisOptions } from '../src/index.ts'
import { callMs, openWith } from './open-with.ts'
import { settled } from './settled.ts'

/** Asked anew for each connection, as a secret store would be. */
class Secrets {
  current: string
  asked = 0
  /** In place of an answer. */
  trouble: PasswordFunction | undefined

  constructor(first: string) {
    this.current = first
  }

  readonly password: PasswordFunction = async () => {
    this.asked += 1
    return this.trouble === undefined ? this.current : await this.trouble()
  }
}

/** Changes the password of servers, on connections that outlive it. */
interface Administration extends AsyncDisposable {
  readonly change: (password: string) => Promise<void>
  /** Cuts the connections of all clients but these. */
  readonly cut: () => Promise<void>
}

async function administrate(
  servers: readonly RedisServer[],
  sentinels: readonly Redis[] = [],
): Promise<Administration> {
  const clients = servers.map((server) => new Redis(server.url))
  await Promise.all(clients.map((client) => client.ping()))
  return {
    change: async (password) => {
      await Promise.all(
        sentinels.map((each) => each.call('SENTINEL', 'SET', 'mymaster', 'auth-pass', password)),
      )
      const words = ['masterauth', password, 'requirepass', password]
      await Promise.all(clients.map((client) => client.call('CONFIG', 'SET', ...words)))
    },
    cut: async () => {
      await Promise.all(clients.map((client) => client.call('CLIENT', 'KILL', 'TYPE', 'normal')))
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of [...clients, ...sentinels]) client.disconnect()
    },
  }
}

function works(connection: RedisConnection): Promise<unknown> {
  // On all masters of a Cluster.
  const keys = ['a', 'b', 'c', 'd', 'e', 'f']
  return Promise.all(keys.map((key) => connection.command('SET', [key, 'v'], 5 * callMs)))
}

function expectNoSecret(shown: unknown): void {
  expect(inspect(shown, { depth: 10, showHidden: true })).not.toMatch(/pw-of-/)
}

/** With the password `pw-of-monday` in the beginning, and in the end. */
function itFollowsThePassword(options: RedisOptions, administration: Administration): void {
  it('is asked for anew when connections are made again, where a fixed one stays locked out until it is back', async () => {
    const secrets = new Secrets('pw-of-monday')
    await using rotating = await openWith({ ...options, password: secrets.password })
    await using fixed = await openWith({ ...options, password: 'pw-of-monday' })
    await using routed = await openWith({ ...options, password: secrets.password, replica_only: true })
    await works(rotating.connection)
    await works(fixed.connection)

    secrets.current = 'pw-of-tuesday'
    await administration.change('pw-of-tuesday')
    await works(rotating.connection)
    await administration.cut()
    await waitUntil('commands to work with the new one', () => works(rotating.connection))
    await waitUntil('reads to work with the new one', () =>
      routed.connection.eventualRead('GET', ['a'], callMs),
    )
    const locked = await settled(works(fixed.connection))
    expect(locked.error, 'the control').toBeDefined()
    expectNoSecret(locked.error)

    secrets.current = 'pw-of-monday'
    await administration.change('pw-of-monday')
    await waitUntil('the fixed one to work again', () => works(fixed.connection))
    await administration.cut()
    await waitUntil('commands to work with the old one', () => works(rotating.connection))
    expect(secrets.asked).toBeGreaterThanOrEqual(3)
    expect(rotating.connection.address).toContain(':***@')
    expectNoSecret(rotating.connection.address)
  })
}

describe.skipIf(!serversAvailable())('the password of a single server', async () => {
  const server = await startRedis({ password: 'pw-of-monday' })
  const administration = await administrate([server])
  const addr = `127.0.0.1:${server.port}`
  const never = new Promise<string>(() => {})
  const troubles: [string, PasswordFunction, string][] = [
    ['throws', () => Promise.reject(new Error('the store is sealed')), 'the store is sealed'],
    ['never answers', () => never, 'no answer within'],
    ['gives nothing', () => '', 'not a text'],
    ['gives no text', () => JSON.parse('{ "password": "pw-of-monday" }'), 'not a text'],
  ]
  afterAll(async () => {
    await administration[Symbol.asyncDispose]()
    await server.stop()
  })

  itFollowsThePassword({ addr }, administration)

  it.each(troubles)(
    'is UNAVAILABLE in time at the start when the function %s',
    async (_, password, reason) => {
      const connectTimeoutMs = 600
      const call = openWith({ addr, password }, { connectTimeoutMs, callTimeoutMs: 5_000 })
      const { error, ms } = await settled(call)
      expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent', retryable: true })
      expect(String(error)).toContain('The function that gives the password of Redis failed')
      expect(String(error)).toContain(reason)
      expectNoSecret(error)
      expect(ms).toBeLessThan(connectTimeoutMs + stolenMs())
    },
  )

  it('is refused at once when it is wrong', async () => {
    const { error } = await settled(openWith({ addr, password: () => 'pw-of-sunday' }))
    expect(error).toMatchObject({ code: 'MISCONFIGURED' })
    expectNoSecret(error)
  })

  it('leaves the start its deadline when the function is slow and the server silent', async () => {
    const connectTimeoutMs = 1_000
    const slow: PasswordFunction = () => new Promise((resolve) => setTimeout(resolve, 600, 'pw-of-monday'))
    await server.pause()
    const call = openWith({ addr, password: slow }, { connectTimeoutMs, callTimeoutMs: 5_000 })
    const { error, ms } = await settled(call)
    server.resume()
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    expect(ms).toBeLessThan(connectTimeoutMs + stolenMs())
  })

  it.each(troubles)(
    'is asked for again and again when the function %s at a reconnect',
    async (_, trouble) => {
      const secrets = new Secrets('pw-of-monday')
      const options = { addr, password: secrets.password, dial_timeout: 0.1, max_retry_backoff: 50 }
      await using opened = await openWith(options)
      const { connection } = opened
      secrets.current = 'pw-of-tuesday'
      secrets.trouble = trouble
      await administration.change('pw-of-tuesday')
      await administration.cut()
      const before = secrets.asked
      await waitUntil('three more attempts', () => secrets.asked >= before + 3)
      const refused = await settled(connection.ping(callMs))
      expect(refused.error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent' })
      expectNoSecret(refused.error)
      secrets.trouble = undefined
      await waitUntil('it to work', () => connection.command('PING', [], callMs))
      secrets.current = 'pw-of-monday'
      await administration.change('pw-of-monday')
    },
  )

  it('is asked for once for each connection', async () => {
    const secrets = new Secrets('pw-of-monday')
    // An attempt to connect that a busy machine delays is not to be given up: the next one would ask again.
    const patient = { connectTimeoutMs: 30_000, callTimeoutMs: 30_000 }
    await using opened = await openWith({ addr, password: secrets.password }, patient)
    const { connection } = opened
    expect(secrets.asked).toBe(1)
    await administration.cut()
    await waitUntil('it to work again', () => connection.command('PING', [], callMs))
    expect(secrets.asked).toBe(2)
    const duplicate = await connection.duplicate()
    expect(secrets.asked).toBe(3)
    await duplicate.close()
  })

  it('is asked for again when a library disconnects the client and connects it', async () => {
    const secrets = new Secrets('pw-of-monday')
    await using opened = await openWith({ addr, password: secrets.password })
    const { connection } = opened
    const ended = new Promise((resolve) => connection.client.once('end', resolve))
    connection.client.disconnect()
    await ended
    await connection.client.connect()
    expect(await connection.command('PING', [], callMs)).toBe('PONG')
    expect(secrets.asked).toBe(2)
  })

  it('is shared by those who give the same function, and by no others', async () => {
    const [one, other] = [() => 'pw-of-monday', () => 'pw-of-monday']
    const context = pluginContext()
    const passwords = [one, one, other]
    const shares = await Promise.all(passwords.map((password) => openRedis({ addr, password }, context)))
    const [first, second, third] = shares.map((share) => share.connection)
    expect(second).toBe(first)
    expect(third).not.toBe(first)
    await Promise.all(shares.map((share) => share.release()))
  })
})

describe.skipIf(!serversAvailable())('the password behind Sentinels', async () => {
  const sentinel = await startSentinel({ replicas: 1, sentinels: 1, password: 'pw-of-monday' })
  const watchers = sentinel.sentinels.map((port) => new Redis({ port }))
  const administration = await administrate(sentinel.nodes, watchers)
  const sentinelAddrs = sentinel.sentinels.map((port) => `127.0.0.1:${port}`)
  afterAll(async () => {
    await administration[Symbol.asyncDispose]()
    await sentinel.stop()
  })

  itFollowsThePassword({ sentinelAddrs, masterName: sentinel.name }, administration)
})

describe.skipIf(!serversAvailable())('the password of a Cluster', async () => {
  const cluster = await startCluster({ masters: 3, replicasEach: 1, password: 'pw-of-monday' })
  const administration = await administrate(cluster.nodes)
  const clusterAddrs = cluster.nodes.map(({ port }) => `127.0.0.1:${port}`)
  afterAll(async () => {
    await administration[Symbol.asyncDispose]()
    await cluster.stop()
  })

  itFollowsThePassword({ clusterAddrs }, administration)
})
