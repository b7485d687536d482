import { memoryLock } from '@multinode/core/testing'
import type { LockPlugin } from '@multinode/core'
import { describe, expect, test } from 'vitest'
import { type LockCase, lockCases, LockWorld } from '../src/index.ts'
import { FaultyMemory } from './faulty-memory-lock.ts'
import { withFlaw } from './flawed-lock.ts'
import { showFlaw } from './show-flaw.ts'

async function runFlawed({ control, run }: LockCase): Promise<void> {
  const memory = new FaultyMemory()
  const world = new LockWorld({ plugin: () => withFlaw(memory.plugin(), control), faults: memory.faults })
  try {
    await run(world)
  } finally {
    await world.close().catch(() => 'a flawed driver need not close')
  }
}

// They only wait, each for its own world.
describe.concurrent('each case of the lock suite fails on a driver with the flaw that it exists to catch', () => {
  for (const lockCase of lockCases) {
    test(`${lockCase.control}: ${lockCase.name}`, { timeout: 60_000 }, async () => {
      await expect(showFlaw(() => runFlawed(lockCase))).rejects.toThrow()
    })
  }
})

/** The least that an adapter can be: no order, no push, no shared locks, no jobs. */
const least: LockPlugin = {
  ...memoryLock,
  async create(context) {
    const driver = await memoryLock.create(context)
    return {
      features: { scope: 'process', order: 'none' },
      address: null,
      native: null,
      acquire: (request, timeoutMs) => driver.acquire(request, timeoutMs),
      extend: (key, owner, ttlMs, timeoutMs) => driver.extend(key, owner, ttlMs, timeoutMs),
      release: (key, owner, timeoutMs) => driver.release(key, owner, timeoutMs),
      cancel: (key, owner, timeoutMs) => driver.cancel(key, owner, timeoutMs),
      ping: (timeoutMs) => driver.ping(timeoutMs),
      close: () => driver.close(),
    }
  },
}

test('what the least driver lacks is skipped, and each skipped case says why', async () => {
  const world = new LockWorld({ plugin: () => least })
  const reasons = await Promise.all(lockCases.map(async ({ skip }) => skip?.(world)))
  await world.close()
  const given = new Set(reasons.filter((reason) => reason !== undefined))
  expect([...given].sort()).toEqual([
    'the backend promises no order',
    'the driver has no jobs',
    'the driver has no shared locks',
    'the driver pushes nothing',
    'the harness cannot freeze the server',
    'the harness cannot lose state',
  ])
  expect(reasons.filter((reason) => reason === undefined).length).toBeGreaterThan(15)
})
