import { readFile } from 'node:fs/promises'
import { type RedisServer, serversAvailable, startCluster, startRedis } from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { pluginContext } from '@multinode/core/testing'
import { redisCache } from '../src/index.ts'
import { callMs, entry, longMs } from './node.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
const appRules = rulesIn(/`(\+client[^`]+)`/)
const clusterRules = rulesIn(/`(\+cluster[^`]+)`/)

function rulesIn(pattern: RegExp): string[] {
  const [, rules] = pattern.exec(readme) ?? []
  if (rules === undefined) throw new Error(`no rules like ${pattern} in the README`)
  return rules.split(/\s+/)
}

let used = 0

/** All that the driver does; each time in a namespace of its own, because one that failed may have left something. */
async function useCache(url: string): Promise<void> {
  const driver = await redisCache({ url }).create(pluginContext({ clusterName: 'shop' }))
  try {
    used += 1
    const name = `used ${used}`
    const space = driver.open({ name, version: '' })
    const keys = Array.from({ length: 30 }, (_, index) => `key ${index}`)
    await space.set(
      keys.map((key) => entry(key, 'value', { tags: ['tag'] })),
      callMs,
    )
    expect((await space.get('key 1', callMs))?.data.toString()).toBe('value')
    expect((await space.getMany(keys, callMs)).every((each) => each !== undefined)).toBe(true)
    const claim = { key: 'made', owner: 'a', leaseMs: longMs, tags: ['tag'] }
    const claimed = await space.claim(claim, callMs)
    expect(await space.renew('made', 'a', longMs, callMs)).toBe(true)
    const snapshot = claimed.status === 'granted' ? claimed.snapshot : undefined
    expect(await space.fill(entry('made', 'value', { tags: ['tag'] }), 'a', snapshot, callMs)).toBe('stored')
    await space.release('made', 'a', callMs)
    await space.delete(keys, callMs)
    await space.invalidateTags(['tag'], callMs)
    await space.clear(callMs)
    await driver.counters?.increment(name, 1, 1_000, callMs)
    await driver.counters?.get(name, callMs)
    await driver.counters?.reset(name, callMs)
    const filter = { name, capacity: 100, errorRate: 0.01 }
    await driver.bloomFilters?.add(filter, ['a'], callMs)
    expect(await driver.bloomFilters?.mayHave(filter, ['a'], callMs)).toEqual([true])
    await driver.bloomFilters?.remove(name, callMs)
    await driver.files?.put(name, { bytes: Buffer.from('x'), etag: 'e', contentType: 't' }, 1_000, callMs)
    expect(await driver.files?.get(name, [], callMs)).toMatchObject({ etag: 'e' })
    await driver.files?.delete(name, callMs)
    await driver.ping(callMs)
  } finally {
    await driver.close()
  }
}

/** Which of the rules it does without; each other one must be refused as it should. */
async function needless(
  nodes: readonly RedisServer[],
  rules: readonly string[],
  url: string,
): Promise<string[]> {
  const found = []
  for (const rule of rules) {
    await setApp(
      nodes,
      rules.filter((each) => each !== rule),
    )
    const error: unknown = await useCache(url).catch((reason: unknown) => reason)
    if (error === undefined) found.push(rule)
    else expectRefusal(error, rule)
  }
  return found
}

function expectRefusal(error: unknown, rule: string): void {
  expect([rule, error]).toMatchObject([
    rule,
    {
      code: 'MISCONFIGURED',
      retryable: false,
      message: expect.stringContaining('The ACL user lacks a permission: see the README'),
    },
  ])
}

async function setApp(nodes: readonly RedisServer[], rules: readonly string[]): Promise<void> {
  for (const each of nodes) {
    await each.cli('ACL', 'SETUSER', 'app', 'reset', 'on', '>of-app', ...rules)
    // A script must be loaded by its user, too.
    await each.cli('SCRIPT', 'FLUSH')
  }
}

describe.skipIf(!serversAvailable())('what the README lists for an ACL user', async () => {
  const [server, cluster] = await Promise.all([startRedis(), startCluster({ masters: 3 })])
  afterAll(() => Promise.all([server.stop(), cluster.stop()]))

  it('suffices on a single server, and without most of it the cache is refused and says why', async () => {
    const url = server.url.replace('//', '//app:of-app@')
    await setApp([server], appRules)
    await useCache(url)
    // A name for CLIENT LIST; what Redis allows everybody; another database; whether the server has filters of its own, which is no then.
    expect(await needless([server], appRules, url)).toEqual(['+client', '+hello', '+select', '+command'])
  })

  it('suffices on a Cluster', async () => {
    const url = cluster.url.replace('//', '//app:of-app@')
    const rules = [...appRules, ...clusterRules]
    await setApp(cluster.nodes, rules)
    await useCache(url)
    await setApp(
      cluster.nodes,
      rules.filter((rule) => rule !== '+cluster'),
    )
    await expect(useCache(url), 'the control').rejects.toMatchObject({ code: 'MISCONFIGURED' })
  })
})
