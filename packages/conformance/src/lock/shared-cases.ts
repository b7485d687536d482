import type { AcquireReply, SharedLockDriver, SharedMode } from '@multinode/core'
import { expect } from 'vitest'
import { settledWithin } from '../settled-within.ts'
import type { LockCase } from './lock-case.ts'
import { callMs, type LockWorld } from './lock-world.ts'
import { notFifo, withoutPush, withoutShared } from './skip-reasons.ts'
import { mostStillMs, serverTimePasses, untilGranted } from './waiting.ts'

interface Asked {
  readonly permits?: number
  readonly ttlMs?: number
  readonly waitMs?: number
}

/** Asks for `key` in a mode. */
function ask(
  shared: SharedLockDriver,
  owner: string,
  mode: SharedMode,
  { permits = 1, ttlMs = 10_000, waitMs = 0 }: Asked = {},
): Promise<AcquireReply> {
  return shared.acquire({ key: 'key', owner, ttlMs, waitMs, mode, permits }, callMs)
}

async function sharedOf(world: LockWorld): Promise<SharedLockDriver> {
  const { shared } = await world.driver()
  if (shared === undefined) throw lacking()
  return shared
}

function lacking(): Error {
  return new Error('the driver has no shared locks')
}

async function withoutSharedQueue(world: LockWorld): Promise<string | undefined> {
  return (await withoutShared(world)) ?? (await notFifo(world))
}

async function withoutSharedPush(world: LockWorld): Promise<string | undefined> {
  return (await withoutShared(world)) ?? (await withoutPush(world))
}

function tokenOf(reply: AcquireReply): number {
  expect(reply.status).toBe('granted')
  return reply.status === 'granted' ? reply.token : 0
}

/** Locks that several may hold at once. */
export const sharedCases: readonly LockCase[] = [
  {
    name: 'callers of 4 nodes are never more in a semaphore than it has permits',
    control: 'shared-ignores-permits',
    skip: withoutShared,
    async run(world) {
      const nodes = await Promise.all(Array.from({ length: 4 }, () => world.locks()))
      let inside = 0
      let most = 0
      let sections = 0
      const section = async (): Promise<void> => {
        inside += 1
        most = Math.max(most, inside)
        await new Promise(setImmediate)
        inside -= 1
        sections += 1
      }
      const callers = nodes.flatMap((locks) => {
        const semaphore = locks.semaphore('key', { permits: 3 })
        return Array.from({ length: 5 }, () => semaphore.run(section, { waitMs: 15_000 }))
      })
      await Promise.all(callers)
      expect(sections).toBe(20)
      expect(most).toBeLessThanOrEqual(3)
    },
  },
  {
    name: 'all permits can be held at once, on several nodes, and no more of them',
    control: 'shared-ignores-permits',
    skip: withoutShared,
    async run(world) {
      const [here, there] = [await sharedOf(world), await sharedOf(world)]
      const statuses: string[] = []
      for (const shared of [here, there, here, there]) {
        const reply = await ask(shared, world.owner(), 'permit', { permits: 3 })
        statuses.push(reply.status)
      }
      expect(statuses).toEqual(['granted', 'granted', 'granted', 'busy'])
    },
  },
  {
    name: 'repeating a request for a permit as the same owner gives the same permit',
    control: 'shared-repeat-is-new',
    skip: withoutShared,
    async run(world) {
      const shared = await sharedOf(world)
      const [owner, other] = [world.owner(), world.owner()]
      const first = await ask(shared, owner, 'permit', { permits: 2 })
      expect(first.status).toBe('granted')
      expect(await ask(shared, owner, 'permit', { permits: 2 })).toEqual(first)
      expect(await ask(shared, other, 'permit', { permits: 2 })).toMatchObject({ status: 'granted' })
    },
  },
  {
    name: 'every permit has a token of its own, greater than all before it',
    control: 'shared-token-repeats',
    skip: withoutShared,
    async run(world) {
      const nodes = [await sharedOf(world), await sharedOf(world)]
      const tokens: number[] = []
      for (let round = 0; round < 6; round += 1) {
        for (const shared of nodes) {
          tokens.push(tokenOf(await ask(shared, world.owner(), 'permit', { permits: 100 })))
        }
      }
      expect(tokens.every((token) => Number.isSafeInteger(token))).toBe(true)
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b))
    },
  },
  {
    name: 'a permit that was released is free at once, for every node',
    control: 'shared-release-does-nothing',
    skip: withoutShared,
    async run(world) {
      const [here, there] = [await sharedOf(world), await sharedOf(world)]
      const owner = world.owner()
      await ask(here, owner, 'permit')
      expect(await here.release('key', owner, callMs)).toBe('released')
      expect(await ask(there, world.owner(), 'permit')).toMatchObject({ status: 'granted' })
    },
  },
  {
    name: 'a permit whose holder is gone is free after its ttl, and not before',
    control: 'shared-ttl-is-ignored',
    skip: withoutShared,
    async run(world) {
      const shared = await sharedOf(world)
      const [gone, next] = [world.owner(), world.owner()]
      const startedAt = performance.now()
      await ask(shared, gone, 'permit', { ttlMs: 300 })
      await untilGranted(() => ask(shared, next, 'permit'))
      expect(performance.now() - startedAt).toBeGreaterThan(290)
      expect(await shared.release('key', gone, callMs)).toBe('expired')
    },
  },
  {
    name: 'an extended permit outlives its first ttl',
    control: 'shared-extend-does-nothing',
    skip: withoutShared,
    async run(world) {
      const driver = await world.driver()
      const shared = await sharedOf(world)
      const owner = world.owner()
      await ask(shared, owner, 'permit', { ttlMs: mostStillMs })
      expect(await shared.extend('key', owner, 60_000, callMs)).toBe('extended')
      await serverTimePasses(world, driver, mostStillMs + 100)
      expect(await ask(shared, world.owner(), 'permit')).toMatchObject({ status: 'busy' })
    },
  },
  {
    name: 'readers hold a lock together',
    control: 'shared-readers-exclude',
    skip: withoutShared,
    async run(world) {
      const [here, there] = [await sharedOf(world), await sharedOf(world)]
      const [first, second] = [world.owner(), world.owner()]
      tokenOf(await ask(here, first, 'read'))
      tokenOf(await ask(there, second, 'read'))
      expect(await here.extend('key', first, 10_000, callMs)).toBe('extended')
      expect(await there.extend('key', second, 10_000, callMs)).toBe('extended')
    },
  },
  {
    name: 'those who read at the same time have the same token, also when the first of them has left',
    control: 'shared-readers-differ',
    skip: withoutShared,
    async run(world) {
      const [here, there] = [await sharedOf(world), await sharedOf(world)]
      const first = world.owner()
      const token = tokenOf(await ask(here, first, 'read'))
      expect(tokenOf(await ask(there, world.owner(), 'read'))).toBe(token)
      await here.release('key', first, callMs)
      expect(tokenOf(await ask(here, world.owner(), 'read'))).toBe(token)
    },
  },
  {
    name: 'readers exclude a writer',
    control: 'shared-writers-read',
    skip: withoutShared,
    async run(world) {
      const [here, there] = [await sharedOf(world), await sharedOf(world)]
      await ask(here, world.owner(), 'read')
      await ask(here, world.owner(), 'read')
      expect(await ask(there, world.owner(), 'write')).toMatchObject({ status: 'busy' })
    },
  },
  {
    name: 'a writer excludes readers and writers',
    control: 'shared-writers-read',
    skip: withoutShared,
    async run(world) {
      const [here, there] = [await sharedOf(world), await sharedOf(world)]
      await ask(here, world.owner(), 'write')
      expect(await ask(there, world.owner(), 'read')).toMatchObject({ status: 'busy' })
      expect(await ask(there, world.owner(), 'write')).toMatchObject({ status: 'busy' })
    },
  },
  {
    name: 'the token of a writer is greater than those of all before it, and that of readers after it greater again',
    control: 'shared-token-repeats',
    skip: withoutShared,
    async run(world) {
      const shared = await sharedOf(world)
      const tokens: number[] = []
      for (const mode of ['read', 'write', 'write', 'read', 'write'] as const) {
        const owner = world.owner()
        tokens.push(tokenOf(await ask(shared, owner, mode)))
        await shared.release('key', owner, callMs)
      }
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b))
    },
  },
  {
    name: 'nobody passes one who waits, whatever they ask for',
    control: 'shared-no-queue',
    skip: withoutSharedQueue,
    async run(world) {
      const shared = await sharedOf(world)
      const [writer, reader] = [world.owner(), world.owner()]
      await ask(shared, world.owner(), 'read')
      expect(await ask(shared, writer, 'write', { waitMs: 10_000 })).toMatchObject({ status: 'busy' })
      expect(await ask(shared, reader, 'read')).toMatchObject({ status: 'busy' })
      await shared.cancel('key', writer, callMs)
      expect(await ask(shared, reader, 'read')).toMatchObject({ status: 'granted' })
    },
  },
  {
    name: 'nobody passes one who waits for a permit, though there is room by its own number',
    control: 'shared-no-queue',
    skip: withoutSharedQueue,
    async run(world) {
      const shared = await sharedOf(world)
      await ask(shared, world.owner(), 'permit')
      await ask(shared, world.owner(), 'permit', { waitMs: 10_000 })
      expect(await ask(shared, world.owner(), 'permit', { permits: 2 })).toMatchObject({ status: 'busy' })
    },
  },
  {
    name: 'readers that wait side by side are let in together, and the writer behind them after them',
    control: 'shared-readers-exclude',
    skip: withoutSharedQueue,
    async run(world) {
      const shared = await sharedOf(world)
      const [writer, first, second, last] = [world.owner(), world.owner(), world.owner(), world.owner()]
      const wait = { waitMs: 20_000 }
      await ask(shared, writer, 'write')
      for (const reader of [first, second]) await ask(shared, reader, 'read', wait)
      await ask(shared, last, 'write', wait)
      // In one go, of which only the first request may leave before the others: who stood still between two round trips would rightly be passed over.
      const [, , ...readers] = await Promise.all([
        ask(shared, last, 'write', wait),
        shared.release('key', writer, callMs),
        untilGranted(() => ask(shared, first, 'read', wait)),
        untilGranted(() => ask(shared, second, 'read', wait)),
      ])
      const tokens = readers.map(tokenOf)
      expect(await ask(shared, last, 'write', wait)).toMatchObject({ status: 'busy' })
      for (const reader of [first, second]) {
        expect(await shared.release('key', reader, callMs)).toBe('released')
      }
      const written = await untilGranted(() => ask(shared, last, 'write', wait))
      expect(tokenOf(written)).toBeGreaterThan(Math.max(...tokens))
    },
  },
  {
    name: 'the head of the queue of a shared lock is woken when there is room for it',
    control: 'no-wake',
    skip: withoutSharedPush,
    async run(world) {
      const driver = await world.driver()
      const { shared } = driver
      if (shared === undefined) throw lacking()
      const [holder, waiter] = [world.owner(), world.owner()]
      await ask(shared, holder, 'permit')
      const woken = new Promise<string>((resolve) => {
        driver.onWake?.(waiter, () => resolve('woken'))
      })
      await ask(shared, waiter, 'permit', { waitMs: 10_000 })
      await shared.release('key', holder, callMs)
      expect(await settledWithin(callMs, woken)).toBe('woken')
    },
  },
  {
    name: 'cancel gives a permit back, and leaves the queue',
    control: 'shared-cancel-does-nothing',
    skip: withoutShared,
    async run(world) {
      const shared = await sharedOf(world)
      const [holder, waiter] = [world.owner(), world.owner()]
      await ask(shared, holder, 'permit')
      await ask(shared, waiter, 'permit', { waitMs: 10_000 })
      await shared.cancel('key', waiter, callMs)
      await shared.cancel('key', holder, callMs)
      expect(await ask(shared, world.owner(), 'permit')).toMatchObject({ status: 'granted' })
    },
  },
  {
    name: 'a request for a shared lock that arrives after its cancel is refused',
    control: 'shared-cancel-leaves-no-tombstone',
    skip: withoutShared,
    async run(world) {
      const shared = await sharedOf(world)
      for (const mode of ['permit', 'read', 'write'] as const) {
        const owner = world.owner()
        await shared.cancel('key', owner, callMs)
        expect(await ask(shared, owner, mode)).toEqual({ status: 'cancelled' })
      }
    },
  },
  {
    name: 'extend says what it found, and never creates a permit',
    control: 'shared-extend-creates',
    skip: withoutShared,
    async run(world) {
      const shared = await sharedOf(world)
      const [owner, reader, writer] = [world.owner(), world.owner(), world.owner()]
      expect(await shared.extend('key', owner, 10_000, callMs)).toBe('expired')
      await ask(shared, reader, 'read')
      expect(await shared.extend('key', owner, 10_000, callMs)).toBe('expired')
      expect(await shared.release('key', reader, callMs)).toBe('released')
      await ask(shared, writer, 'write')
      expect(await shared.extend('key', owner, 10_000, callMs)).toBe('not-owner')
      expect(await shared.extend('key', writer, 10_000, callMs)).toBe('extended')
    },
  },
  {
    name: 'release says what it found, and ends no lease of another owner',
    control: 'shared-release-ignores-owner',
    skip: withoutShared,
    async run(world) {
      const shared = await sharedOf(world)
      const [owner, first, second, writer] = [world.owner(), world.owner(), world.owner(), world.owner()]
      expect(await shared.release('key', owner, callMs)).toBe('expired')
      for (const reader of [first, second]) await ask(shared, reader, 'read')
      expect(await shared.release('key', owner, callMs)).toBe('expired')
      expect(await shared.release('key', first, callMs)).toBe('released')
      expect(await shared.release('key', second, callMs)).toBe('released')
      await ask(shared, writer, 'write')
      expect(await shared.release('key', owner, callMs)).toBe('not-owner')
      expect(await shared.release('key', writer, callMs)).toBe('released')
    },
  },
  {
    name: 'a shared lock and a plain one of the same key never meet',
    control: 'shared-keys-meet-plain-ones',
    skip: withoutShared,
    async run(world) {
      const driver = await world.driver()
      const shared = await sharedOf(world)
      const request = { key: 'key', owner: world.owner(), ttlMs: 10_000, waitMs: 0 }
      expect(await driver.acquire(request, callMs)).toMatchObject({ status: 'granted' })
      expect(await ask(shared, world.owner(), 'write')).toMatchObject({ status: 'granted' })
    },
  },
]
