import { inspect } from 'node:util'
import { isMultinodeError } from '@multinode/core'
import { pluginContext } from '@multinode/core/testing'
import {
  type RedisSentinel,
  type RedisServer,
  serversAvailable,
  spawnNode,
  startCluster,
  startRedis,
  startSentinel,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { checkTls } from '../src/check-topology.ts'
import { openRedis, type RedisConnection, RedisScript } from '../src/index.ts'
import { resolveTarget } from '../src/redis-target.ts'
import { type Settled, settled } from './settled.ts'

const connectTimeoutMs = 3_000
/** `At once`, told from `at the deadline` on a busy machine. */
const atOnceMs = connectTimeoutMs * 0.6
const callMs = 1_000
const bump = new RedisScript('bump', "return redis.call('INCR', KEYS[1])")

/** With much time, unless that is the point. */
function open(url: string, patienceMs = 30_000): ReturnType<typeof openRedis> {
  const context = pluginContext({ connectTimeoutMs: patienceMs, callTimeoutMs: callMs })
  return openRedis({}, { ...context, address: { url, source: 'LOCK_URL' } })
}

async function expectRefusedAtOnce(url: string, ...parts: readonly string[]): Promise<void> {
  const { error, ms } = await settled(open(url, connectTimeoutMs))
  expect(error).toMatchObject({ code: 'MISCONFIGURED', retryable: false })
  for (const part of ['LOCK_URL', ...parts]) expect(String(error)).toContain(part)
  expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(/wr0ng|s3cr3t/)
  expect(ms).toBeLessThan(atOnceMs + stolenMs())
}

async function expectWorks(url: string): Promise<void> {
  const share = await open(url)
  expect(await share.connection.script(bump, ['k'], [], 10 * callMs)).toBeGreaterThan(0)
  await share.release()
}

/** Writes all the time while `during` runs and until one succeeds after it: all of them, and how long that took. */
async function writingThrough(
  connection: RedisConnection,
  during: () => Promise<unknown>,
  deadlineMs = callMs,
): Promise<{ settledCalls: Settled[]; againAfterMs: number }> {
  const settledCalls: Settled[] = []
  const write = async (): Promise<boolean> => {
    const call = await settled(connection.script(bump, ['busy'], [], deadlineMs))
    settledCalls.push(call)
    return call.error === undefined
  }
  let over = false
  const fault = during().finally(() => (over = true))
  while (!over) {
    // oxlint-disable-next-line no-await-in-loop
    await write()
    // oxlint-disable-next-line no-await-in-loop
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await fault
  const startedAt = performance.now()
  await waitUntil('writes to work again', write, { everyMs: 10 })
  return { settledCalls, againAfterMs: performance.now() - startedAt }
}

function expectSettledWell(calls: readonly Settled[]): void {
  for (const { error, ms } of calls) {
    const code = isMultinodeError(error) ? error.code : error
    expect([undefined, 'UNAVAILABLE', 'TIMEOUT']).toContain(code)
    expect(ms).toBeLessThan(callMs * 1.5 + stolenMs())
  }
}

async function expectEndsByItself(url: string): Promise<void> {
  const child = new URL('./fixtures/open.ts', import.meta.url)
  // A process that has just begun is slow where others begin beside it.
  await using node = await spawnNode(child, { env: { REDIS_URL: url, CONNECT_TIMEOUT_MS: '10000' } })
  expect(await node.nextLine('result')).toContain('result opened ')
  const [, endedMs] = (await node.nextLine('ended')).split(' ')
  expect(Number(endedMs)).toBeLessThan(1_500 + stolenMs())
  expect(await node.exited).toEqual({ code: 0, signal: null })
}

describe.skipIf(!serversAvailable())('Sentinel', async () => {
  const sentinel = await startSentinel({ password: 's3cr3t', sentinelPassword: 's3cr3t-too' })
  const { url } = sentinel
  afterAll(() => sentinel.stop())

  it('opens, and leaves nothing behind', async () => {
    expect.hasAssertions()
    await expectWorks(url)
    await expectEndsByItself(url)
  })

  it('refuses what will never work at once, and says what to do', async () => {
    expect.hasAssertions()
    await expectRefusedAtOnce(url.replace('/mymaster', '/other'), 'no master "other"', 'it watches mymaster')
    await expectRefusedAtOnce(url.replace('s3cr3t@', 'wr0ng@'), 'User or password are wrong')
    await expectRefusedAtOnce(url.replace('s3cr3t-too', 'wr0ng'), 'User or password are wrong')
    await expectRefusedAtOnce(url.replace(/\?.*/, ''), 'put it into the address')
  })

  it('keeps calls within their deadline when the master changes on command', async () => {
    const share = await open(url)
    const { settledCalls, againAfterMs } = await writingThrough(share.connection, () => sentinel.failover())
    expectSettledWell(settledCalls)
    expect(againAfterMs).toBeLessThan(5_000 + stolenMs())
    const role = await share.connection.command('ROLE', [], 10 * callMs)
    expect(Array.isArray(role) && role[0]).toBe('master')
    await share.release()
  })

  it('finds the new master when the old one is killed, where a plain client stays cut off', async () => {
    const share = await open(url)
    const plain = await openPlain(sentinel)
    const { settledCalls, againAfterMs } = await writingThrough(share.connection, async () => {
      const dead = await sentinel.killMaster()
      await sentinel.masterAfter(dead)
    })
    expectSettledWell(settledCalls)
    expect(settledCalls.some(({ error }) => error !== undefined)).toBe(true)
    expect(againAfterMs).toBeLessThan(5_000 + stolenMs())
    await expect(plain.ping()).rejects.toThrow()
    plain.disconnect()
    await share.release()
  })

  it('is UNAVAILABLE at the deadline when all Sentinels are down', async () => {
    await sentinel.killSentinels()
    const { error, ms } = await settled(open(url, connectTimeoutMs))
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
    expect(String(error)).toContain('All sentinels are unreachable')
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('s3cr3t')
    expect(ms).toBeGreaterThan(connectTimeoutMs * 0.7)
    expect(ms).toBeLessThan(connectTimeoutMs * 1.1 + stolenMs())
  })
})

async function openPlain(sentinel: RedisSentinel): Promise<Redis> {
  const master = await sentinel.master()
  const client = new Redis(master.url, { maxRetriesPerRequest: 0, enableOfflineQueue: false })
  client.on('error', () => {})
  await new Promise((resolve) => client.once('ready', resolve))
  return client
}

describe.skipIf(!serversAvailable())('Cluster', async () => {
  const cluster = await startCluster({ masters: 3, replicasEach: 1, password: 's3cr3t' })
  const single = await startRedis()
  const { url } = cluster
  afterAll(() => Promise.all([cluster.stop(), single.stop()]))

  it('opens, takes many calls at once on all nodes, and leaves nothing behind', async () => {
    const share = await open(url)
    const keys = Array.from({ length: 60 }, (_, index) => `many-${index}`)
    const replies = await Promise.all(
      keys.map((key) => share.connection.script(bump, [key], [], 10 * callMs)),
    )
    expect(replies).toEqual(keys.map(() => 1))
    await share.release()
    await expectEndsByItself(url)
  })

  it('refuses what will never work at once, and says what to do', async () => {
    expect.hasAssertions()
    const node = `127.0.0.1:${cluster.nodes[0]?.port}`
    await expectRefusedAtOnce(`redis://:s3cr3t@${node}`, 'is a node of a Cluster', 'redis+cluster://')
    await expectRefusedAtOnce(`redis+cluster://127.0.0.1:${single.port}`, 'a single server', 'redis://')
    await expectRefusedAtOnce(url.replace('s3cr3t', 'wr0ng'), 'User or password are wrong')
    await expectRefusedAtOnce(`redis+cluster://${node}`, 'put it into the address')
  })

  it('goes on while the slot is moved', async () => {
    const share = await open(url)
    const owner = await cluster.masterOf('busy')
    const to = await otherMaster(owner)
    // What fails is refused: none is to be late because the machine is.
    const { settledCalls } = await writingThrough(
      share.connection,
      () => cluster.moveSlot('busy', to),
      10 * callMs,
    )
    expect(settledCalls.filter(({ error }) => error !== undefined)).toEqual([])
    expect(Math.max(...settledCalls.map(({ ms }) => ms))).toBeLessThan(3 * callMs + stolenMs())
    expect(await cluster.masterOf('busy')).toBe(to)
    await share.release()
  })

  it('goes on with a replica when the master is killed', async () => {
    const share = await open(url)
    await share.connection.script(bump, ['busy'], [], 10 * callMs)
    const owner = await cluster.masterOf('busy')
    const { settledCalls, againAfterMs } = await writingThrough(share.connection, async () => {
      await owner.kill()
      await waitUntil('another master', async () => (await cluster.masterOf('busy')) !== owner)
    })
    expectSettledWell(settledCalls)
    expect(
      settledCalls.some(({ error }) => error !== undefined),
      'the control',
    ).toBe(true)
    expect(againAfterMs).toBeLessThan(5_000 + stolenMs())
    await share.release()
  })

  async function otherMaster(owner: RedisServer): Promise<RedisServer> {
    const slots = await Promise.all([0, 8_000, 16_383].map((slot) => cluster.masterOf(slot)))
    const other = slots.find((server) => server !== owner)
    if (!other) throw new Error('all slots are on one node')
    return other
  }
})

describe.skipIf(!serversAvailable())('TLS', async () => {
  const [plain, server, mutual, cluster, sentinel] = await Promise.all([
    startRedis(),
    startRedis({ tls: 'server', password: 's3cr3t' }),
    startRedis({ tls: 'mutual' }),
    startCluster({ masters: 3, tls: 'mutual' }),
    startSentinel({ replicas: 1, tls: 'mutual' }),
  ])
  afterAll(() => Promise.all([plain, server, mutual, cluster, sentinel].map((each) => each.stop())))
  const files = mutual.tls ?? { ca: '', cert: '', key: '' }
  const ca = `?tls_ca_file=${files.ca}`
  const own = `${ca}&tlsCertFile=${files.cert}&tls_key_file=${files.key}`
  const bare = (url: string): string => url.replace(/\?.*/, '')

  it('connects with the files that the address names', async () => {
    expect.hasAssertions()
    await expectWorks(bare(server.url) + ca)
    await expectWorks(bare(mutual.url) + own)
  })

  it('connects to a Cluster and through Sentinels, which want certificates', async () => {
    expect.hasAssertions()
    await expectWorks(bare(cluster.url) + own)
    await expectWorks(bare(sentinel.url) + own)
    await expectEndsByItself(bare(cluster.url) + own)
  })

  it('refuses at once a server that is not trusted or is not the named one', async () => {
    expect.hasAssertions()
    await expectRefusedAtOnce(bare(server.url), 'is not trusted', 'tls_ca_file')
    await expectRefusedAtOnce(bare(cluster.url), 'is not trusted', 'tls_ca_file')
    await expectRefusedAtOnce(bare(sentinel.url), 'is not trusted', 'tls_ca_file')
    await expectRefusedAtOnce(`${bare(server.url)}${ca}&tls_server_name=other.example`, 'tls_server_name')
  })

  it('says that the server wants a certificate, or speaks no TLS', async () => {
    expect.hasAssertions()
    await expectRefusedAtOnce(bare(mutual.url) + ca, 'tls_cert_file and tls_key_file')
    await expectRefusedAtOnce(plain.url.replace('redis:', 'rediss:'), 'speaks no TLS')
  })

  it('knows that the server wants a certificate also when all that clients hear of it is a reset', async () => {
    const context = pluginContext({ connectTimeoutMs })
    const isReady = (): boolean => false
    const check = (address: string): Promise<void> =>
      checkTls(resolveTarget('openRedis', {}, { url: address, source: 'url' }), 'url', context, isReady)
    await expect(check(bare(mutual.url) + ca)).rejects.toMatchObject({
      code: 'MISCONFIGURED',
      message: expect.stringContaining('tls_cert_file and tls_key_file'),
    })
    await expect(check(bare(mutual.url) + own)).resolves.toBe(undefined)
  })
})
