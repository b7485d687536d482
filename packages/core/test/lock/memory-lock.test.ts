import { describe, expect, test } from 'vitest'
import { memoryLock, pluginContext } from '../../src/testing/index.ts'

describe('the driver of the lock on memory', () => {
  test('shares its locks with drivers of the same cluster name, and with no other', async () => {
    const one = await memoryLock.create(pluginContext({ clusterName: 'a' }))
    const two = await memoryLock.create(pluginContext({ clusterName: 'a' }))
    const other = await memoryLock.create(pluginContext({ clusterName: 'b' }))
    const request = { key: 'key', owner: 'o1', ttlMs: 10_000, waitMs: 0 }
    expect((await one.acquire(request, 100)).status).toBe('granted')
    expect((await two.acquire({ ...request, owner: 'o2' }, 100)).status).toBe('busy')
    expect((await other.acquire({ ...request, owner: 'o2' }, 100)).status).toBe('granted')
    await Promise.all([one.close(), two.close(), other.close()])
  })

  test('keeps the locks of the others when one is closed, also twice', async () => {
    const one = await memoryLock.create(pluginContext({ clusterName: 'c' }))
    const two = await memoryLock.create(pluginContext({ clusterName: 'c' }))
    const request = { key: 'key', owner: 'o1', ttlMs: 10_000, waitMs: 0 }
    await one.acquire(request, 100)
    await one.close()
    await one.close()
    const three = await memoryLock.create(pluginContext({ clusterName: 'c' }))
    expect((await three.acquire({ ...request, owner: 'o2' }, 100)).status).toBe('busy')
    await Promise.all([two.close(), three.close()])
  })

  test('says what it guarantees, and that it is not shared', async () => {
    const driver = await memoryLock.create(pluginContext())
    expect(driver).toMatchObject({ features: { scope: 'process', order: 'fifo' }, address: null })
    await driver.ping(100)
    await driver.close()
  })
})
