import { readFile } from 'node:fs/promises'
import { openRedis } from '@multinode/connection-redis'
import type { LockDriver } from '@multinode/core'
import { pluginContext } from '@multinode/core/testing'
import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startSentinel,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { node } from './node.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
const [appRules, clusterRules, sentinelRules] = [
  rulesIn(/`(\+client[^`]+)`/),
  rulesIn(/`(\+cluster[^`]+)`/),
  rulesIn(/`(\+sentinel[^`]+)`/),
]

function rulesIn(pattern: RegExp): string[] {
  const [, rules] = pattern.exec(readme) ?? []
  if (rules === undefined) throw new Error(`no rules like ${pattern} in the README`)
  return rules.split(/\s+/)
}

const callMs = 10_000
let keysUsed = 0

/** All that the driver does; each time on a key of its own, because one that failed may have left something. */
async function useLock(url: string, key = `key-${(keysUsed += 1)}`): Promise<void> {
  await using one = await node(url, { clusterName: 'shop', report: () => {} })
  await handOn(one.driver, key)
  await share(one.driver, key)
  const fire = { job: key, owner: 'a', scheduledAtMs: Date.now(), atMostMs: 10_000, maxSkewMs: 60_000 }
  expect(await one.driver.jobs?.claim(fire, callMs)).toMatchObject({ status: 'run' })
  expect(await one.driver.jobs?.done(key, 'a', callMs)).toBe('released')
  const lease = await one.locks.acquire(key, { waitMs: 0 })
  await lease.extend()
  expect(await one.locks.tryAcquire(key)).toBeNull()
  expect(await lease.release()).toBe('released')
  await one.driver.cancel(key, 'nobody', callMs)
  await one.driver.ping(callMs)
}

/** From a holder to one who waits. */
async function handOn(driver: LockDriver, key: string): Promise<void> {
  const request = { key: `${key}-handed-on`, ttlMs: 10_000, waitMs: 10_000 }
  expect(await driver.acquire({ ...request, owner: 'a' }, callMs)).toMatchObject({ status: 'granted' })
  expect(await driver.acquire({ ...request, owner: 'b' }, callMs)).toMatchObject({ status: 'busy' })
  expect(await driver.release(request.key, 'a', callMs)).toBe('released')
  expect(await driver.acquire({ ...request, owner: 'b' }, callMs)).toMatchObject({ status: 'granted' })
  expect(await driver.release(request.key, 'b', callMs)).toBe('released')
}

async function share({ shared }: LockDriver, key: string): Promise<void> {
  const request = { key, ttlMs: 10_000, waitMs: 10_000, mode: 'permit', permits: 2 } as const
  for (const owner of ['a', 'b']) {
    expect(await shared?.acquire({ ...request, owner }, callMs)).toMatchObject({ status: 'granted' })
  }
  expect(await shared?.acquire({ ...request, owner: 'c' }, callMs)).toMatchObject({ status: 'busy' })
  expect(await shared?.extend(key, 'a', 10_000, callMs)).toBe('extended')
  expect(await shared?.release(key, 'a', callMs)).toBe('released')
  await shared?.cancel(key, 'c', callMs)
  expect(await shared?.release(key, 'b', callMs)).toBe('released')
}

/** Which of the rules it does without; each other one must be refused as it should. */
async function needless(
  rules: readonly string[],
  setUser: (rules: readonly string[]) => Promise<unknown>,
  url: string,
): Promise<string[]> {
  const found = []
  for (const rule of rules) {
    await setUser(rules.filter((each) => each !== rule))
    const error: unknown = await useLock(url).catch((reason: unknown) => reason)
    if (error === undefined) found.push(rule)
    else expectRefusal(error, rule)
  }
  await setUser(rules)
  return found
}

function expectRefusal(error: unknown, rule: string): void {
  expect(error).toMatchObject({ code: 'MISCONFIGURED', retryable: false })
  expect(String(error)).toContain('The ACL user lacks a permission: see the README')
  expect(String(error)).toMatch(reasonWithout(rule))
}

/** Redis 7 does not say which command of a script it refuses; Redis 8 does. */
function reasonWithout(rule: string): RegExp {
  if (rule.startsWith('~')) return /NOPERM .*\bkeys\b/
  const command = rule.slice(1)
  return new RegExp(
    `NOPERM .* '${command}(\\|\\w+)?' command|The user executing the script|ACL failure in script`,
  )
}

async function setApp(nodes: readonly RedisServer[], rules: readonly string[]): Promise<void> {
  for (const each of nodes) {
    await each.cli('ACL', 'SETUSER', 'app', 'reset', 'on', '>of-app', ...rules)
    // A script must be loaded by its user, too.
    await each.cli('SCRIPT', 'FLUSH')
  }
}

describe.skipIf(!serversAvailable())('what the README lists for an ACL user', async () => {
  const [cluster, sentinel] = await Promise.all([
    // No master is to be replaced because it was late.
    startCluster({ masters: 3, replicasEach: 1, nodeTimeoutMs: 10_000 }),
    startSentinel({ replicas: 1, sentinels: 1, downAfterMs: 60_000 }),
  ])
  const watcher = new Redis({ port: sentinel.sentinels[0] ?? 0 })
  afterAll(async () => {
    watcher.disconnect()
    await Promise.all([cluster.stop(), sentinel.stop()])
  })
  const setUser = (user: string, rules: readonly string[]): Promise<unknown> =>
    watcher.call('ACL', 'SETUSER', user, 'reset', 'on', '>of-watcher', ...rules)
  const setWatcher = (rules: readonly string[]): Promise<unknown> => setUser('watcher', rules)
  const isSubscribed = async (user = 'watcher'): Promise<boolean> =>
    new RegExp(` sub=1 .* user=${user} `).test(String(await watcher.client('LIST')))
  const clusterUrl = cluster.url.replace('//', '//app:of-app@')
  const sentinelUrlOf = (user: string): string =>
    `${sentinel.url.replace('//', '//app:of-app@')}?sentinel_username=${user}&sentinel_password=of-watcher`
  const sentinelUrl = sentinelUrlOf('watcher')

  it('suffices on a Cluster, and without most of it the lock is refused and says why', async () => {
    const rules = [...appRules, ...clusterRules]
    await setApp(cluster.nodes, rules)
    await useLock(clusterUrl)
    const found = await needless(rules, (some) => setApp(cluster.nodes, some), clusterUrl)
    // A name for CLIENT LIST; what Redis allows everybody; another database; what a waiter does that asks again without being told; what only a slot that moves and a master that
    // becomes a replica need.
    expect(found).toEqual(['+client', '+hello', '+select', '+subscribe', '+asking', '+readonly'])
  })

  it('suffices on a Cluster to reach a key of a slot that moves', async () => {
    await setApp(cluster.nodes, [...appRules, ...clusterRules])
    expect.hasAssertions()
    const { connection, release } = await openRedis({ url: clusterUrl }, pluginContext())
    const key = '{shop:lock:on the move}:lease'
    const from = await cluster.masterOf(key)
    const masters = await Promise.all([0, 8_000, 16_000].map((slot) => cluster.masterOf(slot)))
    const to = masters.find((master) => master !== from) ?? from
    await cluster.moveSlot(key, to, {
      async midway() {
        await expect(from.cli('GET', key), 'the control').rejects.toThrow('ASK ')
        expect(await connection.command('SET', [key, 'x'], callMs)).toBe('OK')
      },
    })
    await release()
  })

  it('suffices behind Sentinels, and without most of it the lock is refused and says why', async () => {
    await setWatcher(sentinelRules)
    await setApp(sentinel.nodes, appRules)
    await useLock(sentinelUrl)
    const found = await needless(appRules, (some) => setApp(sentinel.nodes, some), sentinelUrl)
    expect(found).toEqual(['+client', '+hello', '+info', '+select', '+subscribe'])
  })

  it('suffices for the user of the Sentinels, to be told of a failover, too', async () => {
    await setApp(sentinel.nodes, appRules)
    await setWatcher(sentinelRules)
    await useLock(sentinelUrl)
    const found = await needless(sentinelRules, setWatcher, sentinelUrl)
    expect(found).toEqual(['+subscribe', '+client', '+hello', '+ping', '&*'])
    await using _all = await node(sentinelUrl, { clusterName: 'shop' })
    await waitUntil('a subscription', () => isSubscribed())
  })

  it.each([
    ['+subscribe', 'deaf'],
    ['&*', 'nowhere'],
  ])('of the Sentinels without %s is not told of a failover', async (rule, user) => {
    await setApp(sentinel.nodes, appRules)
    await setUser(
      user,
      sentinelRules.filter((each) => each !== rule),
    )
    await using _one = await node(sentinelUrlOf(user), { clusterName: 'shop' })
    await waitUntil('the refusal', async () =>
      JSON.stringify(await watcher.call('ACL', 'LOG')).includes(user),
    )
    expect(await isSubscribed(user)).toBe(false)
  })
})
