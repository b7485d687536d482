import { expect } from 'vitest'
import { withLateness } from '../lateness.ts'
import { settledWithin } from '../settled-within.ts'
import type { LockCase } from './lock-case.ts'
import type { LockWorld } from './lock-world.ts'

function cannotFreeze({ faults }: LockWorld): string | undefined {
  return faults.freeze === undefined ? 'the harness cannot freeze the server' : undefined
}

/** Runs `during` while the server is silent. */
async function whileFrozen<T>(world: LockWorld, during: () => Promise<T>): Promise<T> {
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
export const faultCases: readonly LockCase[] = [
  {
    name: 'every verb rejects with TIMEOUT at its deadline while the server is silent',
    control: 'deadline-is-ignored',
    skip: cannotFreeze,
    async run(world) {
      const driver = await world.driver()
      const owner = world.owner()
      await whileFrozen(world, async () => {
        const { shared, jobs } = driver
        const request = { key: 'key', owner, ttlMs: 1_000, waitMs: 0 }
        const fire = { job: 'key', owner, scheduledAtMs: Date.now(), atMostMs: 1_000, maxSkewMs: 60_000 }
        const verbs = [
          driver.acquire(request, 200),
          driver.extend('key', owner, 1_000, 200),
          driver.release('key', owner, 200),
          driver.cancel('key', owner, 200),
          driver.ping(200),
          shared?.acquire({ ...request, mode: 'permit', permits: 1 }, 200),
          shared?.extend('key', owner, 1_000, 200),
          shared?.release('key', owner, 200),
          shared?.cancel('key', owner, 200),
          jobs?.claim(fire, 200),
          jobs?.extend('key', owner, 1_000, 200),
          jobs?.done('key', owner, 200),
        ].filter((verb) => verb !== undefined)
        const outcomes = await Promise.all(verbs.map((verb) => settledWithin(2_000, verb)))
        for (const outcome of outcomes) expect(outcome).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
      })
    },
  },
  {
    name: 'a lease is lost at its deadline though the server is silent, and its signal says so',
    control: 'extend-does-nothing',
    skip: cannotFreeze,
    async run(world) {
      const locks = await world.locks({ callTimeoutMs: 2_000 })
      const startedAt = performance.now()
      const lease = await locks.acquire('key', { ttlMs: 600 })
      // It began somewhere between the two, which may be far apart.
      const acquiredAt = performance.now()
      let lostAt = 0
      const { lateMs } = await withLateness(() =>
        whileFrozen(world, async () => {
          const extending = settledWithin(5_000, lease.extend())
          await settledWithin(3_000, aborted(lease.signal))
          lostAt = performance.now()
          expect(lease.held).toBe(false)
          expect(await extending).toMatchObject({ name: 'MultinodeError' })
        }),
      )
      expect(lease.signal.reason).toMatchObject({ code: 'LOST' })
      expect(lostAt - startedAt).toBeGreaterThan(590)
      expect(lostAt - acquiredAt).toBeLessThan(1_000 + lateMs)
    },
  },
  {
    name: 'ping rejects while the server is silent, and answers afterwards',
    control: 'ping-always-succeeds',
    skip: cannotFreeze,
    async run(world) {
      const driver = await world.driver()
      const frozen = await whileFrozen(world, () => settledWithin(2_000, driver.ping(200)))
      expect(frozen).toMatchObject({ code: 'TIMEOUT' })
      await driver.ping(2_000)
    },
  },
  {
    name: 'closing a driver twice is harmless',
    control: 'close-twice-rejects',
    async run(world) {
      const driver = await world.driver()
      await driver.close()
      await driver.close()
    },
  },
]
