import { serversAvailable, startCluster, startSentinel, waitUntil, withOwnLateness } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { far, longMs, type Node, node } from './node.ts'

const options = { ttlMs: longMs, l1: false } as const

describe.skipIf(!serversAvailable()).concurrent('while a master is replaced', () => {
  /** Asks for values until Redis keeps one again. @returns for how long the slowest took, less what this process waited for its turn */
  async function slowestMs({ cache }: Node): Promise<number> {
    const things = cache.namespace<string>('things', options)
    let slowest = 0
    let asked = 0
    await waitUntil('Redis to keep values again', async () => {
      const key = `asked ${(asked += 1)}`
      const startedAt = performance.now()
      const { result, sumMs } = await withOwnLateness(() => things.getOrSet(key, () => 'made'))
      slowest = Math.max(slowest, performance.now() - startedAt - sumMs)
      expect(result).toBe('made')
      return (await things.get(key)) === 'made'
    })
    return slowest
  }

  it('behind Sentinels an app goes on, and what replicas had is there afterwards', async () => {
    await using sentinel = await startSentinel({ replicas: 1 })
    await using one = await node(sentinel.url)
    await using patient = await node(sentinel.url)
    const things = one.cache.namespace<string>('things', options)
    const before = patient.cache.namespace<string>('things', far)
    await before.set('key', 'value', { tags: ['tag'] })
    await before.set('gone', 'value')
    expect(await before.delete('gone')).toBe('done')
    const [, replica] = sentinel.nodes
    const copied = async (): Promise<boolean> => {
      const keys = await replica?.cli('KEYS', '*:entry')
      return Array.isArray(keys) && keys.map(String).join() === '{shop:cache:things@:key}:entry'
    }
    await waitUntil('the replica to have it', copied)
    const dead = await sentinel.killMaster()
    // Three calls of a quarter of a second at most: to look, to claim, to fill.
    expect(await slowestMs(one)).toBeLessThan(3 * 250 + 250)
    expect(await sentinel.master(), 'the control').not.toBe(dead)
    await waitUntil('it to be read', async () => (await things.get('key')) === 'value')
    expect(await things.get('gone')).toBe(undefined)
    await things.invalidateTags(['tag'])
    expect(await things.get('key')).toBe(undefined)
  })

  it('of a Cluster an app goes on, and what was there is there afterwards', async () => {
    await using cluster = await startCluster({ masters: 3, replicasEach: 1 })
    await using one = await node(cluster.url)
    await using patient = await node(cluster.url)
    const things = one.cache.namespace<string>('things', options)
    const master = await cluster.masterOf('{shop:cache:things@}:version')
    const [replica] = await cluster.replicasOf('{shop:cache:things@}:version')
    expect(await patient.cache.namespace<string>('things', far).set('key', 'value')).toBe('done')
    if (replica === undefined) throw new Error('there is no replica')
    await cluster.failover(replica)
    expect(await slowestMs(one)).toBeLessThan(3 * 250 + 250)
    expect(await cluster.masterOf('{shop:cache:things@}:version'), 'the control').not.toBe(master)
    await waitUntil('it to be read', async () => (await things.get('key')) === 'value')
  })
})
