import type { AcquireReply, LockDriver } from '@multinode/core'
import { expect } from 'vitest'
import { refusal } from '../refusal.ts'
import { settledWithin } from '../settled-within.ts'
import type { LockCase } from './lock-case.ts'
import { callMs } from './lock-world.ts'
import { notFifo, withoutPush } from './skip-reasons.ts'
import { serverTimePasses, untilGranted } from './waiting.ts'

function ask(driver: LockDriver, owner: string, waitMs = 10_000): Promise<AcquireReply> {
  return driver.acquire({ key: 'key', owner, ttlMs: 10_000, waitMs }, callMs)
}

async function statusOf(driver: LockDriver, owner: string): Promise<string> {
  const reply = await ask(driver, owner)
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
      expect(await refusal(there.acquire('key', { waitMs: 150 }))).toMatchObject({
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
      expect(await refusal(waiting)).toMatchObject({ code: 'ABORTED', cause: { message: 'enough' } })
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
      const statuses: string[] = []
      for (const owner of owners) statuses.push(await statusOf(driver, owner))
      expect(statuses).toEqual(['granted', 'busy', 'busy', 'busy', 'busy', 'busy'])
      for (const [index, owner] of owners.entries()) {
        const [next, later] = owners.slice(index + 1)
        const askLater = (): Promise<string> | string =>
          later === undefined ? 'busy' : statusOf(driver, later)
        const releaseAndAsk = async (): Promise<string[]> => [
          await driver.release('key', owner, callMs),
          await askLater(),
        ]
        // In one go, of which only the first request may leave before the others: who stood still between two round trips would rightly be passed over.
        // Several connections may change the order; then it is asked once more after the release, while the next one may still wait.
        const [before, [released, again], after] = await Promise.all([
          askLater(),
          releaseAndAsk(),
          askLater(),
          next === undefined ? undefined : untilGranted(() => ask(driver, next)),
        ])
        expect([before, released, after, again]).toEqual(['busy', 'released', 'busy', 'busy'])
      }
    },
  },
  {
    name: 'the head of the queue is woken when the lock becomes free',
    control: 'no-wake',
    skip: withoutPush,
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
  {
    name: 'a head of the queue that does not come is passed over, and the next one is woken',
    control: 'reservations-never-lapse',
    skip: notFifo,
    async run(world) {
      const driver = await world.driver()
      const [holder, head, second] = [world.owner(), world.owner(), world.owner()]
      for (const owner of [holder, head, second]) await statusOf(driver, owner)
      const woken = new Promise<string>((resolve) => {
        if (driver.onWake === undefined) resolve('woken')
        driver.onWake?.(second, () => resolve('woken'))
      })
      await driver.release('key', holder, callMs)
      expect(await settledWithin(callMs, woken)).toBe('woken')
      await untilGranted(() => ask(driver, second))
    },
  },
  {
    name: 'a waiter that was passed over may come back, behind who has the lock meanwhile',
    control: 'passed-over-is-refused',
    skip: notFifo,
    async run(world) {
      const driver = await world.driver()
      const [holder, head, second] = [world.owner(), world.owner(), world.owner()]
      for (const owner of [holder, head, second]) await statusOf(driver, owner)
      await driver.release('key', holder, callMs)
      await untilGranted(() => ask(driver, second))
      expect(await statusOf(driver, head)).toBe('busy')
      await driver.release('key', second, callMs)
      await untilGranted(() => ask(driver, head))
    },
  },
  {
    name: 'a waiter whose time is over keeps nobody waiting',
    control: 'waiters-never-leave',
    skip: notFifo,
    async run(world) {
      const driver = await world.driver()
      const [holder, short, next] = [world.owner(), world.owner(), world.owner()]
      await statusOf(driver, holder)
      expect(await ask(driver, short, 10)).toMatchObject({ status: 'busy' })
      await serverTimePasses(world, driver, 50)
      await driver.release('key', holder, callMs)
      expect(await ask(driver, next, 0)).toMatchObject({ status: 'granted' })
    },
  },
]
