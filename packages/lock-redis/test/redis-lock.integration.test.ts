import { readFile } from 'node:fs/promises'
import type { Lease, Locks } from '@multinode/core'
import { serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { node } from './node.ts'

const hourMs = 3_600_000
const minuteMs = 60_000
const callMs = 10_000

const awkwardKeys = [
  'a',
  'a}b',
  '{a',
  '}',
  '{}',
  'a{b}c',
  '%7B',
  'a:lease',
  'ä\u{1F512}',
  'a b\nc',
  '*?[x]',
  'x'.repeat(1_024),
]

describe.skipIf(!serversAvailable())('the lock on Redis', async () => {
  const server = await startRedis()
  const admin = new Redis(server.url)
  afterAll(async () => {
    admin.disconnect()
    await server.stop()
  })
  beforeEach(() => server.flush())

  it('needs no commands and keys but those that the README lists for an ACL user', async () => {
    const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
    const rules = /`(\+client[^`]+)`/.exec(readme)?.[1]?.split(/\s+/) ?? []
    expect(rules.length).toBeGreaterThan(10)
    await using acl = await startRedis()
    await acl.cli('ACL', 'SETUSER', 'app', 'on', '>pw', 'resetchannels', '-@all', ...rules)
    const reported: unknown[] = []
    const report = (error: unknown): unknown => reported.push(error)
    await using one = await node(acl.url.replace('//', '//app:pw@'), { clusterName: 'shop', report })
    const lease = await one.locks.acquire('a{b}')
    const waiting = one.locks.acquire('a{b}')
    await waitUntil('the subscription', async () => String(await acl.cli('PUBSUB', 'CHANNELS')) !== '')
    await lease.extend(minuteMs)
    expect(await one.locks.tryAcquire('a{b}')).toBeNull()
    expect(await lease.release()).toBe('released')
    expect(await (await waiting).release()).toBe('released')
    await one.driver.cancel('key', 'nobody', callMs)
    await useShared(one.locks)
    const claim = await one.locks.claimFire('job', Date.now(), { atMostMs: minuteMs })
    if (claim.status === 'run') await claim.done()
    expect(claim.status).toBe('run')
    await one.driver.ping(callMs)
    expect(reported).toEqual([])
    // The control: with one rule less it does not work, and says so.
    await acl.cli('ACL', 'SETUSER', 'app', '-time')
    await expect(one.locks.tryAcquire('key')).rejects.toMatchObject({ code: 'MISCONFIGURED' })
  })

  it('keeps all keys of one lock in one slot, whatever its name', async () => {
    await using slots = await startRedis({ args: ['--cluster-enabled', 'yes'] })
    await using one = await node(server.url, { clusterName: 'shop' })
    for (const key of awkwardKeys) {
      await server.flush()
      await one.driver.acquire({ key, owner: 'a', ttlMs: minuteMs, waitMs: 0 }, callMs)
      await one.driver.cancel(key, 'b', callMs)
      const keys = await admin.keys('*')
      expect(keys.map((stored) => stored.replace(/^\{shop:lock:[^{}]*\}:/, '')).toSorted()).toEqual([
        'cancelled:b',
        'lease',
        'token',
      ])
      const inSlots = await Promise.all(keys.map((stored) => slots.cli('CLUSTER', 'KEYSLOT', stored)))
      expect(new Set(inSlots).size).toBe(1)
    }
    const bare = ['shop:lock:a:lease', 'shop:lock:a:token']
    const inSlots = await Promise.all(bare.map((stored) => slots.cli('CLUSTER', 'KEYSLOT', stored)))
    expect(new Set(inSlots).size, 'the control: without braces').toBe(2)
  })

  it('stores a lease with the version of its format, and an end', async () => {
    await using one = await node(server.url, { clusterName: 'shop' })
    const lease = await one.locks.acquire('invoice:42', { ttlMs: minuteMs })
    const record = await admin.hgetall('{shop:lock:invoice:42}:lease')
    expect(record).toEqual({
      v: '1',
      owner: expect.stringMatching(/^[0-9a-f]{16}:1$/),
      token: String(lease.token),
    })
    const leftMs = await admin.pttl('{shop:lock:invoice:42}:lease')
    expect(leftMs).toBeGreaterThan(minuteMs / 2)
    expect(leftMs).toBeLessThanOrEqual(minuteMs)
    expect(lease.remainingMs()).toBeLessThan(leftMs)
  })

  it.each([
    ['a release', minuteMs, (lease: Lease) => lease.release()],
    ['an expiry', 50, () => undefined],
  ])('leaves nothing after %s but the last token, for an hour', async (_, ttlMs, end) => {
    await using one = await node(server.url, { clusterName: 'shop' })
    const lease = await one.locks.acquire('key', { ttlMs })
    await end(lease)
    await waitUntil('the end', async () => (await admin.exists('{shop:lock:key}:lease')) === 0)
    expect(await admin.keys('*')).toEqual(['{shop:lock:key}:token'])
    expect(await admin.get('{shop:lock:key}:token')).toBe(String(lease.token))
    const leftMs = await admin.pttl('{shop:lock:key}:token')
    expect(leftMs).toBeGreaterThan(hourMs - minuteMs)
    expect(leftMs).toBeLessThanOrEqual(hourMs)
  })

  it('leaves nothing after giving up but a tombstone, for a minute at most', async () => {
    await using here = await node(server.url, { clusterName: 'shop' })
    await using there = await node(server.url, { clusterName: 'shop' })
    await using lease = await here.locks.acquire('key')
    await expect(there.locks.acquire('key', { waitMs: 50 })).rejects.toMatchObject({ code: 'TIMEOUT' })
    const tombstones = await waitUntil('the tombstone', async () => {
      const found = await admin.keys('*cancelled*')
      return found.length === 1 ? found : undefined
    })
    expect(await admin.dbsize()).toBe(3)
    for (const tombstone of tombstones) {
      const leftMs = await admin.pttl(tombstone)
      expect(leftMs).toBeGreaterThan(0)
      expect(leftMs).toBeLessThanOrEqual(minuteMs)
    }
    expect(lease.held).toBe(true)
  })

  it('does not shorten by a late copy of an acquisition what was extended since', async () => {
    await using one = await node(server.url, { clusterName: 'shop' })
    const { driver } = one
    const { shared, jobs } = driver
    if (shared === undefined || jobs === undefined) throw new Error('the driver lacks a part')
    const request = { key: 'key', owner: 'a', ttlMs: 10, waitMs: 0 }
    const write = { ...request, key: 'write', mode: 'write', permits: 1 } as const
    const permit = { ...request, key: 'permit', mode: 'permit', permits: 1 } as const
    const fire = { job: 'job', owner: 'a', scheduledAtMs: 1, atMostMs: 10, maxSkewMs: 0 }
    const longAs = { ttlMs: minuteMs, atMostMs: minuteMs }
    const plain = await driver.acquire({ ...request, ...longAs }, callMs)
    expect(await driver.acquire(request, callMs)).toEqual(plain)
    for (const each of [write, permit]) {
      const granted = await shared.acquire({ ...each, ...longAs }, callMs)
      expect(await shared.acquire(each, callMs)).toEqual(granted)
    }
    const claimed = await jobs.claim({ ...fire, ...longAs }, callMs)
    expect(await jobs.claim(fire, callMs)).toEqual(claimed)

    const nowMs = Date.now()
    const endsMs = [
      nowMs + (await admin.pttl('{shop:lock:key}:lease')),
      nowMs + (await admin.pttl('{shop:lock-shared:write}:lease')),
      Number(await admin.zscore('{shop:lock-shared:permit}:holders', 'a')),
      Number(await admin.hget('{shop:lock-job:job}:job', 'until')),
    ]
    for (const endMs of endsMs) expect(endMs).toBeGreaterThan(nowMs + minuteMs / 2)
  })

  it('goes on from a token that is ahead of the clock, and keeps it for as long as it is', async () => {
    await using one = await node(server.url, { clusterName: 'shop' })
    const aheadMs = 10 * minuteMs
    const ahead = (Date.now() + aheadMs) * 1_000
    await admin.set('{shop:lock:key}:token', ahead)
    const lease = await one.locks.acquire('key')
    expect(lease.token).toBe(ahead + 1)
    expect(await admin.get('{shop:lock:key}:token')).toBe(String(ahead + 1))
    const leftMs = await admin.pttl('{shop:lock:key}:token')
    expect(leftMs).toBeGreaterThan(hourMs + aheadMs - minuteMs)
    expect(leftMs).toBeLessThanOrEqual(hourMs + aheadMs + 1)
  })

  it('hands out greater tokens after a restart without data, where a counter begins again', async () => {
    await using fresh = await startRedis()
    await using one = await node(fresh.url, { clusterName: 'shop' })
    const before = await one.locks.acquire('key')
    const counted = [await fresh.cli('INCR', 'counter')]
    await fresh.kill()
    await fresh.restart()
    const after = await one.locks.acquire('key')
    counted.push(await fresh.cli('INCR', 'counter'))
    expect(after.token).toBeGreaterThan(before.token)
    expect(counted, 'the control').toEqual([1, 1])
    expect(await before.release()).toBe('not-owner')
    expect(await after.release()).toBe('released')
  })

  it('keeps clusters of different names apart on one server', async () => {
    await using shop = await node(server.url, { clusterName: 'shop' })
    await using branch = await node(server.url, { clusterName: 'shop' })
    await using bank = await node(server.url, { clusterName: 'bank' })
    await using lease = await shop.locks.acquire('key')
    expect(await branch.locks.tryAcquire('key'), 'the control').toBeNull()
    await using other = await bank.locks.tryAcquire('key')
    expect(other?.held).toBe(true)
    expect(lease.held).toBe(true)
  })

  it('says what is wrong when something else writes to its keys', async () => {
    await using one = await node(server.url, { clusterName: 'shop', report: () => {} })
    await admin.set('{shop:lock:key}:lease', 'not a hash')
    await expect(one.locks.tryAcquire('key')).rejects.toMatchObject({ code: 'REJECTED' })
  })
})

/** Every verb of the locks that can be shared, with somebody who waits and one who gives up. */
async function useShared(locks: Locks): Promise<void> {
  const semaphore = locks.semaphore('key', { permits: 1 })
  const permit = await semaphore.acquire()
  const waiting = semaphore.acquire()
  await expect(semaphore.acquire({ waitMs: 10 })).rejects.toMatchObject({ code: 'TIMEOUT' })
  await permit.extend(minuteMs)
  await permit.release()
  await (await waiting).release()
  const both = locks.readWrite('key')
  await both.read(() => both.read(() => undefined))
  await both.write((lease) => lease.extend())
}
