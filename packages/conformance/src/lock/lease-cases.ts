import { expect } from 'vitest'
import { refusal } from '../refusal.ts'
import type { LockCase } from './lock-case.ts'
import { callMs } from './lock-world.ts'
import { mostStillMs } from './waiting.ts'

/** How leases run out, are extended, and end. */
export const leaseCases: readonly LockCase[] = [
  {
    name: 'a lease ends by itself after its ttl, and not before',
    control: 'ttl-is-ignored',
    async run(world) {
      const [here, there] = [await world.locks(), await world.locks()]
      const first = await here.acquire('key', { ttlMs: 400 })
      await using second = await there.acquire('key', { waitMs: 3_000 })
      expect(first.held).toBe(false)
      expect(second.token).toBeGreaterThan(first.token)
    },
  },
  {
    name: 'an extended lease outlives its first ttl',
    control: 'extend-does-nothing',
    async run(world) {
      const [here, there] = [await world.locks(), await world.locks()]
      await using lease = await here.acquire('key', { ttlMs: mostStillMs })
      await lease.extend(30_000)
      const waitMs = mostStillMs + 400
      expect(await refusal(there.acquire('key', { waitMs }))).toMatchObject({ code: 'TIMEOUT' })
      expect(lease.held).toBe(true)
    },
  },
  {
    name: 'run renews the lease for as long as its routine runs',
    control: 'extend-does-nothing',
    async run(world) {
      const [here, there] = [await world.locks(), await world.locks()]
      const refused = await here.run(
        'key',
        async (lease) => {
          const error = await refusal(there.acquire('key', { waitMs: mostStillMs + 600 }))
          lease.assertHeld()
          return error
        },
        { ttlMs: mostStillMs },
      )
      expect(refused).toMatchObject({ code: 'TIMEOUT' })
    },
  },
  {
    name: 'extend neither creates a lease nor touches that of another owner',
    control: 'extend-creates',
    async run(world) {
      const driver = await world.driver()
      const [owner, stranger] = [world.owner(), world.owner()]
      expect(await driver.extend('key', owner, 10_000, callMs)).toBe('expired')
      const granted = await driver.acquire({ key: 'key', owner: stranger, ttlMs: 10_000, waitMs: 0 }, callMs)
      expect(granted.status).toBe('granted')
      expect(await driver.extend('key', owner, 10_000, callMs)).toBe('not-owner')
    },
  },
  {
    name: 'release says what it found, and never frees the lock of another owner',
    control: 'release-ignores-owner',
    async run(world) {
      const driver = await world.driver()
      const [owner, stranger, third] = [world.owner(), world.owner(), world.owner()]
      expect(await driver.release('key', owner, callMs)).toBe('expired')
      await driver.acquire({ key: 'key', owner, ttlMs: 10_000, waitMs: 0 }, callMs)
      expect(await driver.release('key', stranger, callMs)).toBe('not-owner')
      const refused = await driver.acquire({ key: 'key', owner: third, ttlMs: 10_000, waitMs: 0 }, callMs)
      expect(refused.status).toBe('busy')
      expect(await driver.release('key', owner, callMs)).toBe('released')
    },
  },
  {
    name: 'cancel gives back what was granted',
    control: 'cancel-does-nothing',
    async run(world) {
      const driver = await world.driver()
      const [owner, next] = [world.owner(), world.owner()]
      await driver.acquire({ key: 'key', owner, ttlMs: 10_000, waitMs: 0 }, callMs)
      await driver.cancel('key', owner, callMs)
      const granted = await driver.acquire({ key: 'key', owner: next, ttlMs: 10_000, waitMs: 0 }, callMs)
      expect(granted.status).toBe('granted')
    },
  },
  {
    name: 'a request that arrives after its cancel is refused',
    control: 'cancel-leaves-no-tombstone',
    async run(world) {
      const driver = await world.driver()
      const owner = world.owner()
      await driver.cancel('key', owner, callMs)
      const late = await driver.acquire({ key: 'key', owner, ttlMs: 10_000, waitMs: 0 }, callMs)
      expect(late.status).toBe('cancelled')
    },
  },
]
