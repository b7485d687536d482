import { readFile } from 'node:fs/promises'
import { type RedisServer, serversAvailable, startCluster, startRedis } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { quiet, workerNode } from './worker-node.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
const [appRules, clusterRules] = [rulesIn(/`(\+client[^`]+)`/), rulesIn(/`(\+cluster[^`]+)`/)]

function rulesIn(pattern: RegExp): string[] {
  const [, rules] = pattern.exec(readme) ?? []
  if (rules === undefined) throw new Error(`no rules like ${pattern} in the README`)
  return rules.split(/\s+/)
}

const callMs = 10_000

/** All that the driver does. */
async function useWorkerIds(url: string): Promise<void> {
  await using node = await workerNode(url, { ...quiet, callTimeoutMs: callMs })
  const { workerIds, driver } = node
  const terms = { leaseMs: 30_000, quarantineMs: 600, maxSkewMs: 500, maxAheadMs: 500 }
  const lease = await workerIds.acquire({ ...terms, isFirstStart: true, waitMs: 3_000 })
  const { id, grant, usedMs } = lease
  const { token, ownerKey, window } = grant
  const claim = { id, token, ownerKey, terms, usedMs, window, nowMs: Date.now() }
  expect(await driver.renew(claim, callMs)).toMatchObject({ status: 'renewed' })
  // Those before that were refused their release may be there as well.
  expect(await workerIds.holders()).toContainEqual(expect.objectContaining({ id, state: 'held' }))
  await lease.release()
  expect(await workerIds.holders()).not.toContainEqual(expect.objectContaining({ id }))
  await driver.ping(callMs)
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
    const error: unknown = await useWorkerIds(url).catch((reason: unknown) => reason)
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
  if (rule.startsWith('~')) return /NOPERM .*\bkeys?\b/
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

const asApp = (url: string): string => url.replace('//', '//app:of-app@')

describe.skipIf(!serversAvailable()).concurrent('what the README lists for an ACL user', () => {
  it('suffices on one server, and without most of it the ids are refused, which says why', async () => {
    await using server = await startRedis()
    const set = (rules: readonly string[]): Promise<void> => setApp([server], rules)
    await set(appRules)
    await useWorkerIds(asApp(server.url))
    // A name for CLIENT LIST; what Redis allows everybody; another database than 0.
    expect(await needless(appRules, set, asApp(server.url))).toEqual(['+client', '+hello', '+select'])
  })

  it('suffices on a Cluster, and without most of it the ids are refused, which says why', async () => {
    await using cluster = await startCluster()
    const set = (some: readonly string[]): Promise<void> => setApp(cluster.nodes, some)
    const rules = [...appRules, ...clusterRules]
    await set(rules)
    await useWorkerIds(asApp(cluster.url))
    // Also what only a slot that moves, and a master that becomes a replica need.
    const found = await needless(rules, set, asApp(cluster.url))
    expect(found).toEqual(['+client', '+hello', '+select', '+asking', '+readonly'])
  })
})
