import type { AcquireRequest, LockDriver, LockPlugin } from '@multinode/core'
import type { LockFlaw } from '../src/index.ts'

/** What a flaw changes of a driver that is otherwise right. */
type Break = (driver: LockDriver) => Partial<LockDriver>

const pretend = <T>(value: T): (() => Promise<T>) => {
  return async () => value
}

/** One way to break a driver for each case of the suite; the smallest change that the case must notice. */
const breaks: Readonly<Record<LockFlaw, Break>> = {
  'grants-while-held': (driver) => ({
    acquire: async (request, timeoutMs) => {
      const reply = await driver.acquire({ ...request, waitMs: 0 }, timeoutMs)
      return reply.status === 'busy' ? { status: 'granted', token: 1 } : reply
    },
  }),
  'keys-collide': (driver) => ({
    acquire: (request, timeoutMs) =>
      driver.acquire({ ...request, key: request.key.replaceAll(/[^a-z]/g, '') }, timeoutMs),
  }),
  'token-repeats': (driver) => ({
    acquire: (request, timeoutMs) => withToken(driver, request, timeoutMs, () => 1),
  }),
  'token-counts-from-one': (driver) => {
    const counts = new Map<string, number>()
    let state = driver.native
    return {
      acquire: (request, timeoutMs) =>
        withToken(driver, request, timeoutMs, () => {
          if (driver.native !== state) counts.clear()
          state = driver.native
          const token = (counts.get(request.key) ?? 0) + 1
          counts.set(request.key, token)
          return token
        }),
    }
  },
  'repeat-is-refused': (driver) => {
    const seen = new Set<string>()
    return {
      acquire: async (request, timeoutMs) => {
        if (seen.has(request.owner)) return { status: 'busy', retryAfterMs: 10 }
        seen.add(request.owner)
        return driver.acquire(request, timeoutMs)
      },
    }
  },
  'ttl-is-ignored': (driver) => ({
    acquire: (request, timeoutMs) => driver.acquire({ ...request, ttlMs: 60_000 }, timeoutMs),
  }),
  'extend-does-nothing': () => ({ extend: pretend('extended') }),
  'extend-creates': (driver) => ({
    extend: async (key, owner, ttlMs, timeoutMs) => {
      await driver.acquire({ key, owner, ttlMs, waitMs: 0 }, timeoutMs)
      return driver.extend(key, owner, ttlMs, timeoutMs)
    },
  }),
  'release-ignores-owner': (driver) => {
    const holders = new Map<string, string>()
    return {
      acquire: async (request, timeoutMs) => {
        const reply = await driver.acquire(request, timeoutMs)
        if (reply.status === 'granted') holders.set(request.key, request.owner)
        return reply
      },
      release: (key, owner, timeoutMs) => driver.release(key, holders.get(key) ?? owner, timeoutMs),
    }
  },
  'release-does-nothing': () => ({ release: pretend('released') }),
  'cancel-does-nothing': () => ({ cancel: pretend(undefined) }),
  'cancel-leaves-no-tombstone': (driver) => ({
    cancel: async (key, owner, timeoutMs) => {
      await driver.release(key, owner, timeoutMs)
    },
  }),
  'no-queue': (driver) => ({
    acquire: (request, timeoutMs) => driver.acquire({ ...request, waitMs: 0 }, timeoutMs),
  }),
  'no-wake': () => ({ onWake: () => () => {} }),
  'deadline-is-ignored': (driver) => ({
    acquire: (request) => driver.acquire(request, 60_000),
  }),
  'ping-always-succeeds': () => ({ ping: pretend(undefined) }),
  'close-twice-rejects': (driver) => {
    let closed = false
    return {
      close: async () => {
        if (closed) throw new Error('closed already')
        closed = true
        await driver.close()
      },
    }
  },
}

/** The same plugin, with one flaw. */
export function withFlaw(plugin: LockPlugin, flaw: LockFlaw): LockPlugin {
  return {
    ...plugin,
    async create(context) {
      const driver = await plugin.create(context)
      const flawed: LockDriver = Object.create(driver)
      return Object.assign(flawed, breaks[flaw](driver))
    },
  }
}

async function withToken(
  driver: LockDriver,
  request: AcquireRequest,
  timeoutMs: number,
  token: () => number,
): ReturnType<LockDriver['acquire']> {
  const reply = await driver.acquire(request, timeoutMs)
  return reply.status === 'granted' ? { ...reply, token: token() } : reply
}
