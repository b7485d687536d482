import { expect } from 'vitest'
import { settledWithin } from '../settled-within.ts'
import { asking, askRenewal, ceilingIsPast, longTerms, take } from './holding.ts'
import type { WorkerIdCase } from './worker-id-case.ts'
import type { WorkerIdWorld } from './worker-id-world.ts'

function cannotFreeze({ faults }: WorkerIdWorld): string | undefined {
  return faults.freeze === undefined ? 'the harness cannot freeze the server' : undefined
}

/** Runs `during` while the server is silent. */
async function whileFrozen<T>(world: WorkerIdWorld, during: () => Promise<T>): Promise<T> {
  const thaw = await world.faults.freeze?.()
  try {
    return await during()
  } finally {
    await thaw?.()
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** What happens when the server does not answer. */
export const faultCases: readonly WorkerIdCase[] = [
  {
    name: 'every verb rejects with TIMEOUT at its deadline while the server is silent',
    control: 'deadline-is-ignored',
    isAlone: true,
    skip: cannotFreeze,
    async run(world) {
      const driver = await world.driver()
      const held = await take(driver, asking(world))
      const { id, request, ...window } = held
      await whileFrozen(world, async () => {
        const verbs = [
          driver.acquire(asking(world), 200),
          driver.renew({ ...request, id, usedMs: 0, window, nowMs: Date.now() }, 200),
          driver.release({ id, token: request.token, usedMs: 0 }, 200),
          driver.holders(200),
          driver.ping(200),
        ]
        const outcomes = await Promise.all(verbs.map((verb) => settledWithin(2_000, verb)))
        for (const outcome of outcomes) expect(outcome).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
      })
    },
  },
  {
    name: 'a lease ends in time though the server is silent, its window stands still, and goes on afterwards',
    control: 'renew-does-nothing',
    isAlone: true,
    skip: cannotFreeze,
    async run(world) {
      const workerIds = await world.workerIds()
      const lease = await workerIds.acquire({ isFirstStart: true, ...longTerms, leaseMs: 600 })
      const window = lease.claim()
      const ceilingMs = await whileFrozen(world, async () => {
        await settledWithin(3_000, aborted(lease.signal))
        expect(lease.signal.reason).toMatchObject({ code: 'LOST' })
        return window.ceiling()
      })
      await ceilingIsPast(window, ceilingMs)
      expect(lease.held).toBe(false)
    },
  },
  {
    name: 'ping rejects while the server is silent, and answers afterwards',
    control: 'ping-always-succeeds',
    isAlone: true,
    skip: cannotFreeze,
    async run(world) {
      const driver = await world.driver()
      const frozen = await whileFrozen(world, () => settledWithin(2_000, driver.ping(200)))
      expect(frozen).toMatchObject({ code: 'TIMEOUT' })
      await driver.ping(2_000)
    },
  },
  {
    name: 'closing a driver twice is harmless, and the others keep what they have',
    control: 'close-twice-rejects',
    async run(world) {
      const [here, there] = [await world.driver(), await world.driver()]
      const held = await take(there, asking(world))
      await here.close()
      await here.close()
      expect(await askRenewal(there, held)).toMatchObject({ status: 'renewed' })
    },
  },
]
