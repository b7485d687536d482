import { Locks } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { redisLock } from '../src/index.ts'

describe.skipIf(!serversAvailable())('readers on Redis', () => {
  it('have the same token also when the last token of the lock was forgotten meanwhile', async () => {
    await using redis = await startRedis()
    const driver = await redisLock({ url: redis.url, tokenTtlMs: 1 }).create(pluginContext())
    const locks = new Locks(driver, capabilityContext('lock', 'redis'))
    const settings = locks.readWrite('settings')
    const forgotten = async (): Promise<boolean> => String(await redis.cli('KEYS', '*:token')) === ''
    await settings.read(async ({ token }) => {
      await waitUntil('the token to be forgotten', forgotten)
      expect(await settings.read((beside) => beside.token)).toBe(token)
    })
    await locks.close()
    await driver.close()
  })
})
