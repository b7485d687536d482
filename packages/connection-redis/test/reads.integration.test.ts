import { isMultinodeError } from '@multinode/core'
import {
  type RedisServer,
  serversAvailable,
  spawnNode,
  startCluster,
  startRedis,
  startSentinel,
  stolenMs,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { type RedisConnection, type RedisOptions, RedisScript } from '../src/index.ts'
import { countOf, resetCounts } from './command-counts.ts'
import { LookClock } from './look-clock.ts'
import { openWith } from './open-with.ts'
import { settled } from './settled.ts'

const readScript = new RedisScript('read', "return redis.call('GET', KEYS[1])")
const keys = Array.from({ length: 30 }, (_, index) => `k${index}`)
/** No read may take longer, whatever hangs. */
const hangMs = 1_000
/** So long that none is late because the machine is. */
const deadlineMs = 10_000
/** So long that a silent link is not cut by it. */
const longCallsMs = 20_000

interface Reading extends AsyncDisposable {
  readonly connection: RedisConnection
  /** Looks at the replicas again, and waits for the end of that. */
  readonly look: () => Promise<void>
}

/** A connection that has found and measured all of its servers. */
async function openReading(options: RedisOptions, servers: readonly RedisServer[]): Promise<Reading> {
  const clock = new LookClock()
  const clientName = `reader-${Math.random()}`
  const opened = await openWith({ ...options, clientName }, { clock, callTimeoutMs: longCallsMs })
  await waitUntil('all servers to be measured', async () => {
    const lists = await Promise.all(servers.map((server) => server.cli('CLIENT', 'LIST')))
    return lists.every((list) => new RegExp(` name=${clientName} .* cmd=ping `).test(String(list)))
  })
  const look = async (): Promise<void> => {
    clock.look()
    await waitUntil('the end of the look', () => clock.hasLooked)
  }
  return { connection: opened.connection, look, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() }
}

/** How many of as many reads each of the servers answered. */
async function spread(
  servers: readonly RedisServer[],
  read: (key: string) => Promise<unknown>,
  times = 300,
): Promise<number[]> {
  await resetCounts(servers)
  const reads = Array.from({ length: times }, (_, index) => read(keys[index % keys.length] ?? ''))
  await Promise.all(reads)
  const counts = await Promise.all(servers.map((server) => countOf(server, 'get')))
  return counts.map(({ calls }) => calls)
}

function reader(connection: RedisConnection): (key: string) => Promise<unknown> {
  return (key) => connection.eventualRead('GET', [key], deadlineMs)
}

/** Reads all the time while `during` runs, and a while longer. */
async function readingThrough(
  connection: RedisConnection,
  during: () => Promise<unknown>,
): Promise<{ failures: unknown[]; longestMs: number }> {
  const failures: unknown[] = []
  let longestMs = 0
  let over = false
  const fault = during().finally(() => (over = true))
  while (!over) {
    // oxlint-disable-next-line no-await-in-loop
    for (const { error, ms } of await Promise.all(keys.map((key) => settled(reader(connection)(key))))) {
      if (error !== undefined) failures.push(isMultinodeError(error) ? error.code : error)
      longestMs = Math.max(longestMs, ms)
    }
  }
  await fault
  return { failures, longestMs }
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}

/** What is true of one master as of several, which are the first among the servers. */
function itFollowsRoutes(url: string, servers: readonly RedisServer[], masterCount: number): void {
  const split = (counts: readonly number[]): { ofMasters: number[]; ofReplicas: number[] } => ({
    ofMasters: counts.slice(0, masterCount),
    ofReplicas: counts.slice(masterCount),
  })

  it('go to the master when there is no route', async () => {
    await using reading = await openWith({ url })
    const { ofMasters, ofReplicas } = split(await spread(servers, reader(reading.connection)))
    expect(sum(ofMasters)).toBe(300)
    expect(sum(ofReplicas)).toBe(0)
  })

  it('go to all servers with route_randomly', async () => {
    await using reading = await openReading({ url, route_randomly: true }, servers)
    const counts = await spread(servers, reader(reading.connection))
    expect(sum(counts)).toBe(300)
    expect(Math.min(...counts)).toBeGreaterThan(0)
  })

  it('go to all replicas and not to the master with replica_only', async () => {
    await using reading = await openReading({ url, replica_only: true }, servers)
    const { ofMasters, ofReplicas } = split(await spread(servers, reader(reading.connection)))
    expect(sum(ofMasters)).toBe(0)
    expect(sum(ofReplicas)).toBe(300)
    expect(Math.min(...ofReplicas)).toBeGreaterThan(0)
  })

  it('find what was written', async () => {
    await using reading = await openReading({ url, replica_only: true }, servers)
    const { connection } = reading
    await Promise.all(keys.map((key) => connection.command('SET', [key, `of ${key}`], deadlineMs)))
    await waitUntil('the replicas to have it', async () => {
      const values = await Promise.all(keys.map(reader(connection)))
      expect(values).toEqual(keys.map((key) => `of ${key}`))
      return true
    })
  })

  it('are not what commands and scripts are, which go to the master all the same', async () => {
    await using reading = await openReading({ url, replica_only: true }, servers)
    const { connection } = reading
    const byCommand = await spread(servers, (key) => connection.command('GET', [key], deadlineMs))
    const byScript = await spread(servers, (key) => connection.script(readScript, [key], [], deadlineMs))
    for (const { ofMasters, ofReplicas } of [split(byCommand), split(byScript)]) {
      expect(sum(ofMasters)).toBe(300)
      expect(sum(ofReplicas)).toBe(0)
    }
    expect(sum(split(await spread(servers, reader(connection))).ofReplicas), 'the control').toBe(300)
  })

  it('leave nothing open behind', async () => {
    const child = new URL('./fixtures/read.ts', import.meta.url)
    const parameters = 'client_name=child&replica_only=true'
    const env = { REDIS_URL: `${url}${url.includes('?') ? '&' : '?'}${parameters}` }
    await using node = await spawnNode(child, { env })
    await node.nextLine('reading')
    await waitUntil('it to read from the replicas', async () => {
      const lists = await Promise.all(
        servers.slice(masterCount).map((server) => server.cli('CLIENT', 'LIST')),
      )
      return lists.every((list) => / name=child .* cmd=(get|ping) /.test(String(list)))
    })
    node.send('close')
    expect(await node.nextLine('failed')).toBe('failed 0')
    const [, endedMs] = (await node.nextLine('ended')).split(' ')
    expect(Number(endedMs)).toBeLessThan(1_500 + stolenMs())
    expect(await node.exited).toEqual({ code: 0, signal: null })
  })
}

describe.skipIf(!serversAvailable())('reads from a master by its address and its replicas', async () => {
  const soon = { args: ['--repl-diskless-sync-delay', '0'] }
  const [master, one, two] = await Promise.all([startRedis(soon), startRedis(), startRedis()])
  const servers = [master, one, two]
  const [toMaster, toOne, toTwo] = await Promise.all(servers.map(({ port }) => tcpProxy(port)))
  if (!toMaster || !toOne || !toTwo) throw new Error('unreachable')
  await follow(one, toOne)
  await follow(two, toTwo)
  await replicating()
  const addr = `127.0.0.1:${toMaster.port}`

  afterEach(async () => {
    for (const proxy of [toMaster, toOne, toTwo]) proxy.heal()
    for (const server of servers) {
      if (server.state === 'stopped') server.resume()
      // oxlint-disable-next-line no-await-in-loop
      if (server.state === 'gone') await server.restart()
    }
    await replicating()
  })
  afterAll(async () => {
    await Promise.all([toMaster, toOne, toTwo].map((proxy) => proxy.close()))
    await Promise.all(servers.map((server) => server.stop()))
  })

  /** Makes it a replica, also after a restart, that is reached through a proxy. */
  async function follow(replica: RedisServer, proxy: TcpProxy): Promise<void> {
    await replica.cli('CONFIG', 'SET', 'replica-announce-port', String(proxy.port))
    await replica.cli('REPLICAOF', '127.0.0.1', String(master.port))
    await replica.cli('CONFIG', 'REWRITE')
  }

  async function replicating(): Promise<void> {
    await waitUntil('two replicas', async () => {
      const info = String(await master.cli('INFO', 'replication'))
      return info.match(/state=online/g)?.length === 2
    })
  }

  function open(settings: RedisOptions): Promise<Reading> {
    return openReading({ addr, ...settings }, servers)
  }

  itFollowsRoutes(`redis://${addr}`, servers, 1)

  it('go to the server that answers fastest with route_by_latency, and to another one when that changes', async () => {
    toMaster.delay(150)
    toOne.delay(150)
    await using reading = await open({ route_by_latency: true })
    expect(await spread(servers, reader(reading.connection))).toEqual([0, 0, 300])
    toOne.heal()
    toTwo.delay(150)
    await waitUntil('reads to go elsewhere', async () => {
      await reading.look()
      const counts = await spread(servers, reader(reading.connection), 30)
      return counts[1] === 30
    })
    expect(await spread(servers, reader(reading.connection))).toEqual([0, 300, 0])
  })

  it('go to the fastest replica with replica_only and route_by_latency, though the master is faster', async () => {
    toOne.delay(150)
    toTwo.delay(50)
    await using reading = await open({ replica_only: true, route_by_latency: true })
    expect(await spread(servers, reader(reading.connection))).toEqual([0, 0, 300])
  })

  it.each<[string, RedisOptions]>([
    ['replica_only', { replica_only: true }],
    ['route_randomly', { route_randomly: true }],
  ])('go on with %s when a replica is killed, and go there again when it is back', async (_, settings) => {
    await using reading = await open(settings)
    const { connection } = reading
    expect((await spread(servers, reader(connection)))[1], 'the control').toBeGreaterThan(0)
    const { failures, longestMs } = await readingThrough(connection, () => one.kill())
    expect(failures).toEqual([])
    expect(longestMs).toBeLessThan(hangMs * 1.1 + stolenMs())
    const others = await spread([master, two], reader(connection))
    expect(sum(others)).toBe(300)
    expect(others[1]).toBeGreaterThan(0)
    await one.restart()
    await waitUntil('reads to go there again', async () => (await spread([one], reader(connection)))[0])
  })

  it.each<[string, RedisOptions]>([
    ['replica_only', { replica_only: true }],
    ['route_by_latency', { route_by_latency: true }],
  ])('avoid a replica that hangs from the next look on, with %s', async (_, settings) => {
    // So that it is the one that answers fastest.
    for (const proxy of [toMaster, toTwo]) proxy.delay(150)
    await using reading = await open(settings)
    const { connection } = reading
    await one.pause()
    const reads = keys.map((key) => settled(connection.eventualRead('GET', [key], 300)))
    const hanging = await Promise.all(reads)
    expect(
      hanging.some(({ error }) => isMultinodeError(error) && error.code === 'TIMEOUT'),
      'the control',
    ).toBe(true)
    expect(Math.max(...hanging.map(({ ms }) => ms))).toBeLessThan(hangMs + stolenMs())
    await reading.look()
    expect(sum(await spread([master, two], reader(connection)))).toBe(300)
    one.resume()
    await waitUntil('reads to go there again', async () => {
      await reading.look()
      return (await spread([one], reader(connection)))[0]
    })
  })

  it('go to the master with replica_only when all replicas are gone', async () => {
    await using reading = await open({ replica_only: true })
    const { connection } = reading
    const { failures } = await readingThrough(connection, () => Promise.all([one.kill(), two.kill()]))
    expect(failures).toEqual([])
    expect(await spread([master], reader(connection))).toEqual([300])
    await reading.look()
    expect(await spread([master], reader(connection))).toEqual([300])
  })

  it.each<[string, RedisOptions]>([
    ['replica_only', { replica_only: true }],
    ['route_randomly', { route_randomly: true }],
    ['route_by_latency', { route_by_latency: true }],
  ])('go on with %s while the master is away, and commands do not', async (_, settings) => {
    await using reading = await open(settings)
    const { connection } = reading
    await master.kill()
    await waitUntil('the connection to be down', () => connection.client.status !== 'ready')
    expect(sum(await spread([one, two], reader(connection)))).toBe(300)
    await expect(connection.command('GET', ['k'], deadlineMs), 'the control').rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
  })
})

describe.skipIf(!serversAvailable())('reads through Sentinel', async () => {
  const sentinel = await startSentinel({ password: 's3cr3t', sentinelPassword: 's3cr3t-too' })
  const { url } = sentinel
  afterAll(() => sentinel.stop())

  itFollowsRoutes(url, sentinel.nodes, 1)

  it('go on while the master is replaced, and then leave the new one alone', async () => {
    await using reading = await openReading({ url, replica_only: true }, sentinel.nodes)
    const { connection } = reading
    let master = await sentinel.master()
    const { failures, longestMs } = await readingThrough(connection, async () => {
      const dead = await sentinel.killMaster()
      await expect(connection.ping(deadlineMs), 'the control').rejects.toMatchObject({ code: 'UNAVAILABLE' })
      master = await sentinel.masterAfter(dead)
    })
    // Sentinel cuts all connections of those that get another role; then there is nobody left to ask for a moment.
    expect(failures.filter((failure) => failure !== 'UNAVAILABLE')).toEqual([])
    expect(longestMs).toBeLessThan(hangMs * 1.1 + stolenMs())
    const rest = sentinel.nodes.filter((node) => node !== master && node.state === 'running')
    // The new master names its replica once that follows it.
    await waitUntil('reads to go to the last replica', async () => {
      await reading.look()
      return sum(await spread(rest, reader(connection))) === 300
    })
    expect(await spread([master, ...rest], reader(connection))).toEqual([0, 300])
    await connection.ping(deadlineMs)
  })
})

describe.skipIf(!serversAvailable())('reads from a Cluster', async () => {
  const cluster = await startCluster({ masters: 3, replicasEach: 1, password: 's3cr3t' })
  const { url, nodes } = cluster
  afterAll(() => cluster.stop())

  function open(settings: RedisOptions): Promise<Reading> {
    return openReading({ url, ...settings }, nodes)
  }

  itFollowsRoutes(url, nodes, 3)

  it('avoid a replica that hangs from the next look on', async () => {
    await using random = await open({ replica_only: true })
    await using nearest = await open({ route_by_latency: true })
    const replica = await replicaOf('k0')
    const master = await cluster.masterOf('k0')
    await replica.pause()
    const { error, ms } = await settled(random.connection.eventualRead('GET', ['k0'], 300))
    expect(error, 'the control').toMatchObject({ code: 'TIMEOUT' })
    expect(ms).toBeLessThan(hangMs + stolenMs())
    await Promise.all([random.look(), nearest.look()])
    for (const { connection } of [random, nearest]) {
      // oxlint-disable-next-line no-await-in-loop
      expect(await spread([master], () => reader(connection)('k0'))).toEqual([300])
    }
    replica.resume()
    await cluster.ready()
  })

  it('go on when a replica is killed, and go there again when it is back', async () => {
    await using reading = await open({ replica_only: true })
    const { connection } = reading
    const replica = await replicaOf('k0')
    const master = await cluster.masterOf('k0')
    const { failures, longestMs } = await readingThrough(connection, () => replica.kill())
    expect(failures).toEqual([])
    expect(longestMs).toBeLessThan(hangMs * 1.1 + stolenMs())
    expect(await spread([master], () => reader(connection)('k0'))).toEqual([300])
    await replica.restart()
    await cluster.ready()
    await waitUntil('reads to go there again', async () => {
      await reading.look()
      return (await spread([replica], () => reader(connection)('k0')))[0]
    })
    expect(await spread([replica], () => reader(connection)('k0'))).toEqual([300])
  })

  async function replicaOf(key: string): Promise<RedisServer> {
    const [replica] = await cluster.replicasOf(key)
    if (!replica) throw new Error('it has no replica')
    return replica
  }
})
