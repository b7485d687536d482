import { readFile } from 'node:fs/promises'
import { isMultinodeError } from '@multinode/core'
import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  startSentinel,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
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

/** All that the driver does: two nodes come, one publishes, the other is cut off and reads on, one that is dead is forgotten, both leave. */
async function useSignals(url: string, servers: readonly RedisServer[]): Promise<unknown[]> {
  const troubles: unknown[] = []
  // That the server is away is no matter here: connections are killed.
  const report = (error: unknown): void => {
    if (!isMultinodeError(error) || !error.retryable) troubles.push(error)
  }
  const options = {
    clusterName: 'shop',
    report,
    callTimeoutMs: 2_000,
  }
  for (const server of servers) {
    await server.cli('ZADD', '{shop:pubsub:0}:seen', '1', 'long dead').catch(() => {})
  }
  const publishing = await node(url, options)
  const hearing = await node(url, options)
  try {
    const heard: unknown[] = []
    const onSignal = ({ payload }: { readonly payload: unknown }): void => void heard.push(payload)
    await hearing.pubsub.subscribe('orders.*', onSignal, { onGap: 'ignore' })
    await publishing.pubsub.publish('orders.changed', 1)
    const arrived = (count: number): Promise<unknown> =>
      waitUntil(`${count}`, () => heard.length === count || troubles.length > 0)
    await arrived(1)
    for (const server of servers) await server.cli('CLIENT', 'KILL', 'TYPE', 'normal')
    await publishing.pubsub.publish('orders.changed', 2)
    await arrived(2)
    await publishing.driver.ping(options.callTimeoutMs)
  } catch (error) {
    troubles.push(error)
  } finally {
    await hearing[Symbol.asyncDispose]()
    await publishing[Symbol.asyncDispose]()
  }
  return troubles
}

async function setApp(nodes: readonly RedisServer[], rules: readonly string[]): Promise<void> {
  for (const each of nodes) {
    await each.cli('ACL', 'SETUSER', 'app', 'reset', 'on', '>of-app', ...rules)
    // A script must be loaded by its user, too.
    await each.cli('SCRIPT', 'FLUSH')
    await each.flush().catch(() => {})
  }
}

describe.skipIf(!serversAvailable()).concurrent('what the README lists for an ACL user', () => {
  it(
    'suffices, and without most of it signals are refused with the reason',
    { timeout: 60_000 },
    async () => {
      await using server = await startRedis()
      const url = server.url.replace('//', '//app:of-app@')
      await setApp([server], appRules)
      expect(await useSignals(url, [server])).toEqual([])
      const needless: string[] = []
      const reasons: string[] = []
      for (const rule of appRules) {
        await setApp(
          [server],
          appRules.filter((each) => each !== rule),
        )
        const troubles = await useSignals(url, [server]).catch((error: unknown) => [error])
        if (troubles.length === 0) needless.push(rule)
        else reasons.push(String(troubles))
      }
      expect(reasons.filter((each) => !each.includes('lacks a permission: see the README'))).toEqual([])
      // A name for CLIENT LIST; what Redis allows everybody; another database.
      expect(needless).toEqual(['+client', '+hello', '+select'])
    },
  )

  it('a node that may not read says so as long as it may not, and hears when it may', async () => {
    await using server = await startRedis()
    await setApp([server], appRules)
    const reported: unknown[] = []
    const report = (error: unknown): unknown => reported.push(error)
    await using one = await node(server.url.replace('//', '//app:of-app@'), { clusterName: 'shop', report })
    const heard: unknown[] = []
    await one.pubsub.subscribe('orders.*', ({ payload }) => void heard.push(payload), {
      onGap: 'ignore',
      self: 'include',
    })
    await server.cli('ACL', 'SETUSER', 'app', '-xread')
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal')
    await waitUntil('it to be refused', () => reported.length > 0)
    const changes: boolean[] = []
    one.pubsub.onHearing((isHearing) => void changes.push(isHearing))
    await waitUntil('it to be refused again', () => reported.length > 4)
    expect(changes).toEqual([])
    expect(one.pubsub.isHearing).toBe(false)
    expect(String(reported)).toMatch(/(NOPERM.*'xread'.*){5}/)
    await server.cli('ACL', 'SETUSER', 'app', '+xread')
    await one.pubsub.publish('orders.changed', 1)
    await waitUntil('it to hear', () => heard.length > 0)
    expect(changes).toEqual([true])
  })

  it('suffices on a Cluster', async () => {
    await using cluster = await startCluster()
    await setApp(cluster.nodes, [...appRules, ...clusterRules])
    expect(await useSignals(cluster.url.replace('//', '//app:of-app@'), cluster.nodes)).toEqual([])
  })

  it('suffices behind Sentinels', async () => {
    await using sentinel = await startSentinel({ replicas: 1, sentinels: 1 })
    await setApp([await sentinel.master()], appRules)
    const watcher = new Redis({ port: sentinel.sentinels[0] ?? 0 })
    await watcher.call('ACL', 'SETUSER', 'watcher', 'reset', 'on', '>of-watcher', ...sentinelRules)
    watcher.disconnect()
    const login = 'sentinel_username=watcher&sentinel_password=of-watcher'
    const url = `${sentinel.url.replace('//', '//app:of-app@')}?${login}`
    expect(await useSignals(url, [await sentinel.master()])).toEqual([])
  })
})
