import { createCluster, isMultinodeError, type LockPlugin, MultinodeError } from '@multinode/core'
import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startSentinel,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RedisLock, redisLock } from '../src/index.ts'
import { failOver, inStep, type ReplicatedPair, startPair } from './replicated-pair.ts'

/** Half of it is for the replicas. Short where they do not answer, for then it is waited for. */
const callTimeoutMs = 2_000
const patientMs = 10_000
const minuteMs = 60_000

type Cluster = Awaited<ReturnType<typeof createCluster>>

/** A node of the cluster `shop` whose locks count once so many replicas have them. */
async function open(url: string, replicas: number, timeoutMs = patientMs): Promise<Cluster> {
  const plugin: LockPlugin = redisLock({ url, replicas })
  const cluster = await createCluster({ name: 'shop', plugins: [plugin], env: {}, callTimeoutMs: timeoutMs })
  // Under faults it reports what it could not cancel or release.
  cluster.on('error', () => {})
  return cluster
}

function leaseOf(key: string): string {
  return `{shop:lock:${key}}:lease`
}

async function tokenOn(server: RedisServer, key: string): Promise<unknown> {
  return server.cli('HGET', leaseOf(key), 'token')
}

/** What a node is told that wants the lock of another, once it is connected again. */
async function isHeldFor(cluster: Cluster, key: string): Promise<boolean> {
  const answer = await waitUntil('an answer', async () => ({ lease: await cluster.locks.tryAcquire(key) }), {
    deadlineMs: 30_000,
  })
  return answer.lease === null
}

describe.skipIf(!serversAvailable())('replicas: 1, on a master with a replica', () => {
  let pair: ReplicatedPair

  beforeEach(async () => {
    pair = await startPair()
  })
  afterEach(() => pair[Symbol.asyncDispose]())

  it('a lock is on the replica when it is granted, however slow the link', async () => {
    await using one = await open(pair.master.url, 1)
    await using control = await open(pair.master.url, 0)
    pair.link.delay(20)
    for (let round = 0; round < 10; round += 1) {
      const lease = await one.locks.acquire(`safe ${round}`)
      expect(await tokenOn(pair.replica, lease.key)).toBe(String(lease.token))
    }
    await one.locks.semaphore('shared', { permits: 2 }).acquire()
    expect(await pair.replica.cli('KEYS', '*shared*:holders')).toHaveLength(1)
    pair.link.blackhole()
    const early = await control.locks.acquire('early')
    expect(await tokenOn(pair.replica, early.key), 'the control: replicas: 0').toBeNull()
  })

  it('is refused and given back in time while the replica is frozen, and others are not delayed', async () => {
    // The master has the lock for half of it: time to look, and to ask for others.
    const timeoutMs = 3 * callTimeoutMs
    await using one = await open(pair.master.url, 1, timeoutMs)
    await using other = await open(pair.master.url, 0)
    const native = sharedClientOf(one)
    await (await one.locks.acquire('warm-up')).release()
    await pair.replica.pause()
    let refused = false
    const startedAt = performance.now()
    const refusal = one.locks
      .tryAcquire('key')
      .catch((error: unknown) => error)
      .finally(() => (refused = true))
    await waitUntil('the master to have it', async () => (await native.exists(leaseOf('key'))) === 1)
    for (let command = 0; command < 10; command += 1) await native.incr('others')
    expect(refused, 'all that was answered before').toBe(false)
    expect(await refusal).toMatchObject({
      code: 'UNAVAILABLE',
      retryable: true,
      message: expect.stringContaining('reached 0 replicas within'),
      details: { replicas: 0 },
    })
    expect(performance.now() - startedAt).toBeLessThan(timeoutMs * 1.1 + stolenMs())
    await waitUntil('it to be given back', async () => (await native.keys('*:lease')).length === 0)
    expect(await other.locks.tryAcquire('key')).not.toBeNull()

    // The control: behind a WAIT on their own connection they are delayed.
    let waited = false
    const waiting = native.call('WAIT', 1, 300).then(() => (waited = true))
    await native.incr('others')
    expect(waited).toBe(true)
    await waiting
    pair.replica.resume()
  })

  it('leaves no request on its way that nobody waits for, of many at once while the replica is frozen', async () => {
    await using one = await open(pair.master.url, 1, callTimeoutMs)
    const native = sharedClientOf(one)
    await (await one.locks.acquire('warm-up')).release()
    await pair.replica.pause()
    const keys = Array.from({ length: 20 }, (_, index) => `key ${index}`)
    for (const outcome of await Promise.allSettled(keys.map((key) => one.locks.tryAcquire(key)))) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { retryable: true } })
    }
    await waitUntil('all to be given back', async () => (await native.keys('*:lease')).length === 0)
    const before = await calls(pair.master, 'evalsha')
    pair.replica.resume()
    await inStep(pair.master)
    await (await one.locks.acquire('warm-up')).release()
    const came = (await calls(pair.master, 'evalsha')) - before
    expect(came, 'an acquire, a release, and the one that was sent last').toBeLessThanOrEqual(3)
    expect(await native.keys('*:lease')).toEqual([])
  })

  it('is granted to those who wait once the replica is back', async () => {
    await using one = await open(pair.master.url, 1, callTimeoutMs)
    await (await one.locks.acquire('warm-up')).release()
    await pair.replica.pause()
    const order: number[] = []
    const waiting = Array.from({ length: 5 }, (_, index) =>
      one.locks.run('key', () => order.push(index), { waitMs: minuteMs }),
    )
    const refused = await one.locks.tryAcquire('other').catch((error: unknown) => error)
    expect(refused, 'the control').toBeInstanceOf(MultinodeError)
    expect(order).toEqual([])
    pair.replica.resume()
    await Promise.all(waiting)
    expect(order).toHaveLength(5)
    expect(await sharedClientOf(one).keys('*:lease')).toEqual([])
  })

  it('stays with its holder after a failover to the replica', async () => {
    await using one = await open(pair.master.url, 1)
    const lease = await one.locks.acquire('key', { ttlMs: minuteMs })
    await failOver(pair)
    await using other = await open(pair.replica.url, 0)
    expect(await isHeldFor(other, 'key')).toBe(true)
    expect(lease.held).toBe(true)
  })

  it('is granted to one only when the link is cut before a failover, to two with replicas: 0', async () => {
    await using safe = await open(pair.master.url, 1, callTimeoutMs)
    await using fast = await open(pair.master.url, 0)
    pair.link.blackhole()
    await expect(safe.locks.tryAcquire('safe')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    const lost = await fast.locks.acquire('fast', { ttlMs: minuteMs })
    await failOver(pair)
    await using other = await open(pair.replica.url, 0)
    expect(await isHeldFor(other, 'safe')).toBe(false)
    expect(await isHeldFor(other, 'fast'), 'the control: the second one to have it').toBe(false)
    expect(lost.held).toBe(true)
    expect(safe.locks.stats().held).toBe(0)
  })
})

describe.skipIf(!serversAvailable())('replicas: 1, behind Sentinels', { timeout: 60_000 }, async () => {
  const sentinel = await startSentinel({ replicas: 1 })
  afterAll(() => sentinel.stop())

  it('a lock is on the replica when it is granted, and stays with its holder when the master dies', async () => {
    await using one = await open(sentinel.url, 1, 3 * callTimeoutMs)
    await using other = await open(sentinel.url, 0)
    const master = await sentinel.master()
    const replica = sentinel.nodes.find((each) => each !== master)
    if (replica === undefined) throw new Error('there is no replica')
    for (let round = 0; round < 50; round += 1) {
      const lease = await one.locks.acquire(`key ${round}`)
      expect(await tokenOn(replica, lease.key)).toBe(String(lease.token))
      expect(await lease.release()).toBe('released')
    }
    const lease = await one.locks.acquire('key', { ttlMs: minuteMs })
    await sentinel.killMaster()
    expect(await sentinel.masterAfter(master)).toBe(replica)
    expect(await isHeldFor(other, 'key')).toBe(true)
    await waitUntil('its holder to be connected again', () => lease.extend().then(() => true))
    await waitUntil('a refusal, because the dead one has no successor as replica', async () => {
      const refusal: unknown = await one.locks.tryAcquire('another').catch((error: unknown) => error)
      if (isMultinodeError(refusal) && refusal.details['replicas'] === 0) return true
      throw refusal instanceof Error ? refusal : new Error('it was granted')
    })
  })
})

describe.skipIf(!serversAvailable())('replicas: 1, on a Cluster', { timeout: 60_000 }, async () => {
  const cluster = await startCluster({ masters: 3, replicasEach: 1 })
  afterAll(() => cluster.stop())

  it('is refused where the replica is frozen, and granted elsewhere meanwhile', async () => {
    await using one = await open(cluster.url, 1, 3 * callTimeoutMs)
    const frozen = await cluster.masterOf(leaseOf('0'))
    const [replica] = await cluster.replicasOf(leaseOf('0'))
    const [there, elsewhere]: [string[], string[]] = [[], []]
    for (let index = 0; index < 30; index += 1) {
      const isThere = (await cluster.masterOf(leaseOf(String(index)))) === frozen
      ;(isThere ? there : elsewhere).push(String(index))
    }
    for (const key of [...there, ...elsewhere]) await one.locks.run(key, () => {})
    await replica?.pause()
    let refused = 0
    const refusals = there.map(async (key) => {
      await expect(one.locks.tryAcquire(key)).rejects.toMatchObject({ retryable: true })
      refused += 1
    })
    for (const key of elsewhere) await one.locks.run(key, () => {})
    expect(refused).toBe(0)
    await Promise.all(refusals)
    replica?.resume()
    await cluster.ready()
  })

  it('a lock is on the replica of its master when it is granted, and stays with its holder when that dies', async () => {
    await using one = await open(cluster.url, 1)
    await using other = await open(cluster.url, 0)
    const masters = new Set<RedisServer>()
    for (let round = 0; round < 20; round += 1) {
      const lease = await one.locks.acquire(`key ${round}`)
      const [replica] = await cluster.replicasOf(leaseOf(lease.key))
      masters.add(await cluster.masterOf(leaseOf(lease.key)))
      expect(await tokenOnClusterReplica(replica, lease.key)).toBe(String(lease.token))
      expect(await lease.release()).toBe('released')
    }
    expect(masters.size).toBe(3)
    const lease = await one.locks.acquire('key', { ttlMs: minuteMs })
    const owner = await cluster.masterOf(leaseOf('key'))
    await owner.kill()
    await waitUntil('another master', async () => (await cluster.masterOf(leaseOf('key'))) !== owner)
    expect(await isHeldFor(other, 'key')).toBe(true)
    expect(lease.held).toBe(true)
  })
})

/** What the commands of all others go over. */
function sharedClientOf(cluster: Cluster): RedisLock['native'] {
  const { driver } = cluster.locks
  if (!(driver instanceof RedisLock)) throw new Error('the lock is not on Redis')
  return driver.native
}

/** It answers readers that say so on the same connection. */
async function tokenOnClusterReplica(replica: RedisServer | undefined, key: string): Promise<unknown> {
  if (replica === undefined) throw new Error('there is no replica')
  const client = new Redis(replica.url, { readOnly: true })
  try {
    return await client.hget(leaseOf(key), 'token')
  } finally {
    client.disconnect()
  }
}

async function calls(server: RedisServer, command: string): Promise<number> {
  const stats = String(await server.cli('INFO', 'commandstats'))
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
}
