import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RedisServer, serversAvailable, startRedis } from '../src/index.ts'

describe.skipIf(!serversAvailable())('startRedis with users', () => {
  const users = [
    { name: 'app', password: 'p"a\\s:s', rules: '~app:* &* +@all -@dangerous +info' },
    { name: 'reader', password: 'other', rules: '~* +@connection +get' },
  ]
  let redis: RedisServer

  beforeAll(async () => {
    redis = await startRedis({ users })
  })

  afterAll(async () => {
    await redis.stop()
  })

  async function as(name: string, command: string, ...args: string[]): Promise<unknown> {
    const client = new Redis(redis.urlOf(name), { enableReadyCheck: false, maxRetriesPerRequest: 0 })
    try {
      return await client.call(command, ...args)
    } finally {
      client.disconnect()
    }
  }

  it('lets each do what its rules allow', async () => {
    expect(await as('app', 'SET', 'app:key', 'value')).toBe('OK')
    expect(await as('reader', 'GET', 'app:key')).toBe('value')
  })

  it('refuses a command and a key that the rules leave out', async () => {
    await expect(as('app', 'FLUSHALL')).rejects.toThrow('NOPERM')
    await expect(as('reader', 'SET', 'app:key', 'value')).rejects.toThrow('NOPERM')
    await expect(as('app', 'SET', 'key', 'value')).rejects.toThrow('NOPERM')
  })

  it('leaves the default user as it is, also after a restart', async () => {
    await redis.restart()
    expect(await redis.cli('ACL', 'USERS')).toEqual(['app', 'default', 'reader'])
    expect(await redis.cli('FLUSHALL')).toBe('OK')
  })

  it('knows the url of no other user', () => {
    expect(() => redis.urlOf('nobody')).toThrow('without a user nobody')
  })

  it('shows what Redis says of a rule that it does not know', async () => {
    const users = [{ name: 'app', password: 'x', rules: '+no-such-command' }]
    await expect(startRedis({ users })).rejects.toThrow(/did not come up[^]*Unknown command/)
  })
})
