import type { LockDriver } from '@multinode/core'
import { expect } from 'vitest'
import { settledWithin } from '../settled-within.ts'
import type { LockCase } from './lock-case.ts'
import { callMs, type LockWorld } from './lock-world.ts'

async function statusOf(driver: LockDriver, owner: string): Promise<string> {
  const reply = await driver.acquire({ key: 'key', owner, ttlMs: 10_000, waitMs: 10_000 }, callMs)
  return reply.status
}

/** How callers wait, in which order they are served, and how they stop. */
export const waitingCases: readonly LockCase[] = [
  {
    name: 'a waiter gets the lock when it is released on another node',
    control: 'release-does-nothing',
    async run(world) {
      const [here, there] = [await world.locks(), await world.locks()]
      const lease = await here.acquire('key')
      const waiting = there.acquire('key', { waitMs: 3_000 })
      await lease.release()
      await using next = await waiting
      expect(next.token).toBeGreaterThan(lease.token)
    },
  },
  {
    name: 'waiting ends with TIMEOUT when another holds the lock all the time',
    control: 'grants-while-held',
    async run(world) {
      const [here, there] = [await world.locks(), await world.locks()]
      await using lease = await here.acquire('key')
      await expect(there.acquire('key', { waitMs: 150 })).rejects.toMatchObject({
        code: 'TIMEOUT',
        retryable: true,
      })
      expect(lease.held).toBe(true)
    },
  },
  {
    name: 'a wait that was aborted ends at once and leaves nothing behind',
    control: 'cancel-does-nothing',
    async run(world) {
      const [here, there] = [await world.locks(), await world.locks()]
      const lease = await here.acquire('key')
      const abort = new AbortController()
      const waiting = there.acquire('key', { waitMs: 60_000, signal: abort.signal })
      abort.abort(new Error('enough'))
      await expect(waiting).rejects.toMatchObject({ code: 'ABORTED', cause: { message: 'enough' } })
      await there.close()
      await lease.release()
      await using next = await here.tryAcquire('key')
      expect(next?.held).toBe(true)
    },
  },
  {
    name: 'waiters are served in the order in which they asked',
    control: 'no-queue',
    skip: notFifo,
    async run(world) {
      const driver = await world.driver()
      const owners = Array.from({ length: 6 }, () => world.owner())
      for (const owner of owners) await statusOf(driver, owner)
      const served: string[] = []
      for (const [index, owner] of owners.entries()) {
        const later = owners[index + 2]
        served.push(await statusOf(driver, owner))
        expect(await driver.release('key', owner, callMs)).toBe('released')
        if (later !== undefined) expect(await statusOf(driver, later)).toBe('busy')
      }
      expect(served).toEqual(owners.map(() => 'granted'))
    },
  },
  {
    name: 'the head of the queue is woken when the lock becomes free',
    control: 'no-wake',
    skip: notFifo,
    async run(world) {
      const driver = await world.driver()
      const [holder, waiter] = [world.owner(), world.owner()]
      await statusOf(driver, holder)
      await statusOf(driver, waiter)
      const woken = new Promise<string>((resolve) => {
        driver.onWake?.(waiter, () => resolve('woken'))
      })
      await driver.release('key', holder, callMs)
      expect(await settledWithin(callMs, woken)).toBe('woken')
    },
  },
]

async function notFifo(world: LockWorld): Promise<string | undefined> {
  const { features } = await world.driver()
  return features.order === 'fifo' ? undefined : 'the backend promises no order'
}
