/**
 * Other libraries of locks on Redis: each with its own defaults, except that it waits until it has the lock. All are on ioredis 6, like ours.
 * What an attempt costs and how long they pause between two is theirs.
 */
import { Redlock as SesameRedlock } from '@sesamecare-oss/redlock'
import { LockFactory } from '@verrou/core'
import { redisStore } from '@verrou/core/drivers/redis'
import { Redis } from 'ioredis'
import { Mutex } from 'redis-semaphore'
import Redlock from 'redlock'
import { createLock, IoredisAdapter } from 'redlock-universal'
import { joinOn, type JoinParty, ttlMs, waitMs } from './lock-party.ts'

export const joinPeers: Readonly<Record<string, JoinParty>> = {
  redlock: joinOn((client) => {
    const redlock = new Redlock([client], { retryCount: -1 })
    return async (key) => {
      const lock = await redlock.acquire([key], ttlMs)
      return () => lock.release()
    }
  }),
  '@sesamecare-oss/redlock': joinOn((client) => {
    const redlock = new SesameRedlock([client], { retryCount: -1 })
    return async (key) => {
      const lock = await redlock.acquire([key], ttlMs)
      return () => lock.release()
    }
  }),
  'redlock-universal': joinOn((client) => {
    const adapter = new IoredisAdapter(client)
    return async (key) => {
      const lock = createLock({ adapter, key, ttl: ttlMs, retryAttempts: 10_000 })
      const handle = await lock.acquire()
      return () => lock.release(handle)
    }
  }),
  'redis-semaphore': joinOn((client) => {
    if (!(client instanceof Redis)) throw new TypeError('redis-semaphore was given no client of one server')
    return async (key) => {
      const mutex = new Mutex(client, key, { lockTimeout: ttlMs, acquireTimeout: waitMs })
      await mutex.acquire()
      return () => mutex.release()
    }
  }),
  '@verrou/core': joinOn((client) => {
    if (!(client instanceof Redis)) throw new TypeError('verrou was given no client of one server')
    const factory = new LockFactory(redisStore({ connection: client }).factory())
    return async (key) => {
      const lock = factory.createLock(key, ttlMs)
      if (!(await lock.acquire({ retry: { timeout: waitMs } }))) throw new Error(`verrou did not give ${key}`)
      return () => lock.release()
    }
  }),
}
