import { describe, expect, test } from 'vitest'
import { type LockCase, lockCases, LockWorld } from '../src/index.ts'
import { FaultyMemory } from './faulty-memory-lock.ts'
import { withFlaw } from './flawed-lock.ts'

async function runFlawed({ control, run }: LockCase): Promise<void> {
  const memory = new FaultyMemory()
  const world = new LockWorld({ plugin: () => withFlaw(memory.plugin(), control), faults: memory.faults })
  try {
    await run(world)
  } finally {
    await world.close().catch(() => 'a flawed driver need not close')
  }
}

describe('each case of the lock suite fails on a driver with the flaw that it exists to catch', () => {
  for (const lockCase of lockCases) {
    test(`${lockCase.control}: ${lockCase.name}`, { timeout: 30_000 }, async () => {
      await expect(runFlawed(lockCase)).rejects.toThrow()
    })
  }
})
