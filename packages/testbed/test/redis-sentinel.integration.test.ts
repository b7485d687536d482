import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { readTls, type RedisSentinel, serversAvailable, startSentinel, waitUntil } from '../src/index.ts'
import { testbedFolder } from '../src/temp-folder.ts'

// Sentinel takes its time, and begins again when votes are split.
const slow = { timeout: 150_000 }

function at(topology: RedisSentinel): { sentinels: { host: string; port: number }[]; name: string } {
  return {
    sentinels: topology.sentinels.map((port) => ({ host: '127.0.0.1', port })),
    name: topology.name,
  }
}

describe.skipIf(!serversAvailable())('startSentinel', () => {
  let topology: RedisSentinel
  let client: Redis

  beforeAll(async () => {
    topology = await startSentinel()
  })

  afterAll(async () => {
    await topology.stop()
  })

  beforeEach(async () => {
    client = new Redis({
      ...at(topology),
      // Else it stays with a master that was replaced while its connection held.
      failoverDetector: true,
      commandTimeout: 5_000,
      maxRetriesPerRequest: 0,
      sentinelRetryStrategy: () => 50,
    })
    client.on('error', () => {})
    await client.ping()
  })

  afterEach(() => {
    client.disconnect()
  })

  it('starts a master, two replicas and three Sentinels', async () => {
    const hosts = topology.sentinels.map((port) => `127.0.0.1:${port}`)
    expect(topology.url).toBe(`redis+sentinel://${hosts.join(',')}/mymaster/0`)
    expect(hosts).toHaveLength(3)
    expect(topology.nodes).toHaveLength(3)
    expect(await topology.master()).toBe(topology.nodes[0])
  })

  it('copies writes to the replicas, and flush empties all', async () => {
    await client.set('key', 'value')
    expect(await client.wait(2, 5_000)).toBe(2)
    const read = async () => await Promise.all(topology.nodes.map((node) => node.cli('GET', 'key')))
    expect(await read()).toEqual(['value', 'value', 'value'])
    await topology.flush()
    await waitUntil('all to be empty', async () => (await read()).every((value) => value === null))
  })

  it('fails over when told: clients find the new master', slow, async () => {
    const previous = await topology.master()
    const master = await topology.failover()
    expect(master).not.toBe(previous)
    expect(await topology.master()).toBe(master)
    await waitUntil('a write to reach the new master', async () => {
      await client.set('told', 'yes')
      return (await master.cli('GET', 'told')) === 'yes'
    })
  })

  it('fails over when the master is killed, and takes it back as a replica', slow, async () => {
    const dead = await topology.killMaster()
    expect(dead.state).toBe('gone')
    await waitUntil('a write to be accepted', () => client.set('killed', 'yes'), { deadlineMs: 40_000 })
    const master = await topology.masterAfter(dead)
    expect(await master.cli('GET', 'killed')).toBe('yes')
    await dead.restart()
    await topology.ready()
    expect(await topology.master()).toBe(master)
    expect(await dead.cli('GET', 'killed')).toBe('yes')
  })

  it('lets a connected client go on without Sentinels, which come back after a restart', slow, async () => {
    await topology.killSentinels()
    await expect(topology.failover()).rejects.toThrow('no Sentinel is running')
    expect(await client.set('key', 'value')).toBe('OK')
    const late = new Redis({ ...at(topology), sentinelRetryStrategy: () => 50, lazyConnect: true })
    late.on('error', () => {})
    const connected = late.connect()
    await topology.restartSentinels()
    await connected
    expect(await late.get('key')).toBe('value')
    late.disconnect()
    await topology.ready()
  })

  it('pauses the Sentinels, which answer again after resume', async () => {
    const late = new Redis({ ...at(topology), lazyConnect: true })
    await topology.pauseSentinels()
    let isConnected = false
    const connected = late.connect().then(() => (isConnected = true))
    await expect(waitUntil('a connection', () => isConnected, { deadlineMs: 200 })).rejects.toThrow('200 ms')
    topology.resumeSentinels()
    await connected
    expect(await late.ping()).toBe('PONG')
    late.disconnect()
  })
})

describe.skipIf(!serversAvailable())('startSentinel with passwords and mutual tls', () => {
  it('lets in who has them, fails over, and leaves nothing after stop', slow, async () => {
    await using topology = await startSentinel({
      replicas: 1,
      sentinels: 1,
      password: 'p:w',
      sentinelPassword: 's/w',
      tls: 'mutual',
    })
    const [port] = topology.sentinels
    expect(topology.url).toBe(`rediss+sentinel://:p%3Aw@127.0.0.1:${port}/mymaster/0?sentinelPassword=s%2Fw`)
    await topology.failover()
    if (!topology.tls) throw new Error('started without tls')
    const tls = readTls(topology.tls)
    const client = new Redis({
      ...at(topology),
      password: 'p:w',
      sentinelPassword: 's/w',
      tls,
      sentinelTLS: tls,
      enableTLSForSentinelMode: true,
    })
    expect(await client.set('key', 'value')).toBe('OK')
    client.disconnect()

    await topology.stop()
    await topology.stop()
    expect(topology.nodes.map(({ state }) => state)).toEqual(['gone', 'gone'])
    expect(topology.nodes.some(({ folder }) => existsSync(folder))).toBe(false)
    const ports = [...topology.sentinels, ...topology.nodes.map((node) => node.port)]
    expect(ports.some((each) => existsSync(join(testbedFolder('ports'), String(each))))).toBe(false)
  })
})
