import {
  figure,
  type RedisServer,
  seededRandom,
  serversAvailable,
  startRedis,
  tcpProxy,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { acquireSharedLua } from '../src/acquire-shared.lua.ts'
import { acquireLua } from '../src/acquire.lua.ts'
import { node } from './node.ts'
import { failOver, follow, inStep, startServer } from './replicated-pair.ts'

const hourMs = 3_600_000
const minuteUs = 60_000_000

describe.skipIf(!serversAvailable())('tokens', () => {
  const failovers = figure({ slice: 3, full: 50 })

  it(`grow over the promotion of a replica that missed the last grants, ${failovers} times, where a counter goes back`, async () => {
    await using stack = new AsyncDisposableStack()
    const tokens: number[] = []
    let wentBack = 0
    let [master, replica] = [stack.use(await startServer()), stack.use(await startServer())]
    const links = new Map<RedisServer, Awaited<ReturnType<typeof tcpProxy>>>()
    for (const server of [master, replica]) links.set(server, stack.use(await tcpProxy(server.port)))
    for (let failover = 0; failover < failovers; failover += 1) {
      const link = links.get(master)
      if (link === undefined) throw new Error('a server without a link')
      await follow(replica, master, link)
      tokens.push(...(await grants(master, 3)))
      await inStep(master)
      const known = await replica.cli('GET', '{shop:lock:key}:token')
      expect(known).toBe(String(tokens.at(-1)))
      link.blackhole()
      tokens.push(...(await grants(master, 3)))
      const counted = Number(await master.cli('GET', 'counter'))
      expect(await replica.cli('GET', '{shop:lock:key}:token'), 'it missed them').toBe(known)
      await failOver({ master, replica })
      link.heal()
      tokens.push(...(await grants(replica, 1)))
      if (Number(await replica.cli('GET', 'counter')) <= counted) wentBack += 1
      await master.restart()
      ;[master, replica] = [replica, master]
    }
    expect(tokens).toHaveLength(failovers * 7)
    expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => a - b))
    expect(wentBack, 'the control: a token by INCR').toBe(failovers)
  }, 120_000)

  /** So many grants of the lock, one after the other; the counter is what others take tokens from. */
  async function grants(server: RedisServer, count: number): Promise<number[]> {
    await using one = await node(server.url, { clusterName: 'shop' })
    const tokens: number[] = []
    for (let grant = 0; grant < count; grant += 1) {
      const lease = await one.locks.acquire('key')
      tokens.push(lease.token)
      await server.cli('INCR', 'counter')
      expect(await lease.release()).toBe('released')
    }
    return tokens
  }
})

describe.skipIf(!serversAvailable()).each([
  { script: 'acquire', source: acquireLua, keyCount: 5, mode: [] },
  { script: 'acquire-shared', source: acquireSharedLua, keyCount: 7, mode: ['write', '1'] },
])('tokens of $script by a clock that is set', async ({ source, keyCount, mode }) => {
  const server = await startRedis()
  const admin = new Redis(server.url)
  const keys = ['lease', 'token', 'queue', 'waiters', 'cancelled', 'holders', 'tokens'].slice(0, keyCount)
  const script = source.replaceAll("redis.call('TIME')", '{ARGV[#ARGV - 1], ARGV[#ARGV]}')
  const rounds = figure({ slice: 200, full: 2_000 })
  afterAll(async () => {
    admin.disconnect()
    await server.stop()
  })
  beforeEach(() => server.flush())

  /** The next grant, on a server whose clock says so. */
  async function grantAt(nowUs: number): Promise<number> {
    await admin.del('lease')
    const args = ['owner', 60_000, 0, 'channel', 'prefix', 200, hourMs, ...mode]
    const time = [Math.floor(nowUs / 1_000_000), nowUs % 1_000_000]
    const reply = await admin.eval(script, keys.length, ...keys, ...args, ...time)
    const [status, token]: readonly unknown[] = Array.isArray(reply) ? reply : []
    expect(status).toBe(1)
    return Number(token)
  }

  it('grow whatever it does, and are remembered for as long as they are ahead of it', async () => {
    const random = seededRandom()
    let nowUs = Date.now() * 1_000
    let last = 0
    let steppedBack = 0
    for (let round = 0; round < rounds; round += 1) {
      const token = await grantAt(nowUs)
      expect(token, `seed ${random.seed}`).toBeGreaterThan(last)
      expect(await admin.pttl('token')).toBeGreaterThan(hourMs + (token - nowUs) / 1_000 - 10_000)
      last = token
      const stepUs = random.between(-minuteUs, minuteUs)
      if (stepUs < 0) steppedBack += 1
      nowUs += stepUs
    }
    expect(steppedBack).toBeGreaterThan(rounds / 4)
  }, 60_000)

  it('grow on another server that missed the last ones, while its clock is not behind by more than that took', async () => {
    const random = seededRandom()
    let nowUs = Date.now() * 1_000
    for (let round = 0; round < rounds; round += 1) {
      const known = await grantAt(nowUs)
      const missed = await grantAt(nowUs + 1_000_000)
      const failoverUs = random.between(2, 10_000_000)
      const behindUs = random.between(0, failoverUs - 1)
      const promotedUs = nowUs + 1_000_000 + failoverUs - behindUs
      await admin.set('token', known)
      expect(await grantAt(promotedUs), `seed ${random.seed}`).toBeGreaterThan(missed)
      await admin.set('token', known)
      const tooFarBehindUs = promotedUs - failoverUs
      expect(await grantAt(tooFarBehindUs), 'the control: a clock further behind').toBeLessThanOrEqual(missed)
      nowUs += minuteUs
    }
  }, 60_000)
})
