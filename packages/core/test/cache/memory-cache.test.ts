import { describe, expect, test } from 'vitest'
import type { CacheDriver } from '../../src/cache/cache-driver.ts'
import { memoryCache } from '../../src/cache/memory-cache.ts'
import { memoryQueue, pluginContext } from '../../src/testing/index.ts'

const timeoutMs = 5_000
const definition = { name: 'users', version: '1' }

async function store(driver: CacheDriver): Promise<void> {
  const entry = { key: 'a', data: Buffer.from('one'), ttlMs: 60_000, graceMs: 0, tags: [] }
  await driver.open(definition).set([entry], timeoutMs)
  await driver.counters?.increment('n', 5, undefined, timeoutMs)
}

async function seenBy(driver: CacheDriver): Promise<unknown[]> {
  const entry = await driver.open(definition).get('a', timeoutMs)
  return [entry?.data.toString(), await driver.counters?.get('n', timeoutMs)]
}

describe('the driver of the cache on memory', () => {
  test('shares what it keeps with drivers of the same cluster name, and with no other', async () => {
    const one = await memoryCache.create(pluginContext({ clusterName: 'a' }))
    const two = await memoryCache.create(pluginContext({ clusterName: 'a' }))
    const other = await memoryCache.create(pluginContext({ clusterName: 'b' }))
    await store(one)
    expect(await seenBy(two)).toEqual(['one', 5])
    expect(await seenBy(other)).toEqual([undefined, 0])
    await Promise.all([one.close(), two.close(), other.close()])
  })

  test('keeps it when one is closed, also twice, and forgets it with the last one, though other capabilities go on', async () => {
    const queue = await memoryQueue.create(pluginContext({ clusterName: 'c' }))
    const one = await memoryCache.create(pluginContext({ clusterName: 'c' }))
    const two = await memoryCache.create(pluginContext({ clusterName: 'c' }))
    await store(one)
    await one.close()
    await one.close()
    const three = await memoryCache.create(pluginContext({ clusterName: 'c' }))
    expect(await seenBy(three)).toEqual(['one', 5])
    await Promise.all([two.close(), three.close()])
    const later = await memoryCache.create(pluginContext({ clusterName: 'c' }))
    expect(await seenBy(later)).toEqual([undefined, 0])
    await Promise.all([later.close(), queue.close()])
  })

  test('says what it guarantees, and that it is not shared', async () => {
    const driver = await memoryCache.create(pluginContext())
    expect(driver).toMatchObject({ features: { scope: 'process', forgetsDeletes: false }, address: null })
    await driver.ping(100)
    await driver.close()
  })
})
