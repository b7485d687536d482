import {
  type RedisServer,
  serversAvailable,
  spawnNode,
  startCluster,
  startRedis,
  startSentinel,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'

const child = new URL('./fixtures/retry-at-once.ts', import.meta.url)

/** Some tenths of a second are usual; who starves the connection does so for ever. */
const patienceMs = 10_000

describe.skipIf(!serversAvailable())('who tries again at once, without any pause', async () => {
  const [single, sentinel, cluster] = await Promise.all([startRedis(), startSentinel(), startCluster()])
  afterAll(() => Promise.all([single.stop(), sentinel.stop(), cluster.stop()]))

  /** @returns whether a command succeeds again soon */
  async function comesBack(url: string, servers: readonly RedisServer[], control?: string): Promise<boolean> {
    await using node = await spawnNode(child, {
      env: { REDIS_URL: url, ...(control && { CONTROL: control }) },
    })
    await node.nextLine('begun')
    let hasFailed = false
    void node.nextLine('failed').then(() => (hasFailed = true))
    // A link that is killed between two commands may be back before the next one.
    await waitUntil('a command to fail', async () => {
      await Promise.all(servers.map((server) => server.cli('CLIENT', 'KILL', 'TYPE', 'normal')))
      return hasFailed
    })
    try {
      await node.nextLine('works again', patienceMs)
      return true
    } catch {
      return false
    }
  }

  it.for([
    ['single', single.url, [single]],
    ['Sentinel', sentinel.url, sentinel.nodes],
    ['Cluster', cluster.url, cluster.nodes],
  ] as const)('gets through again on %s', async ([, url, servers]) => {
    expect(await comesBack(url, servers)).toBe(true)
  })

  it('for ever keeps a bare client from coming back (the control)', async () => {
    expect(await comesBack(single.url, [single], 'bare client')).toBe(false)
  })
})
