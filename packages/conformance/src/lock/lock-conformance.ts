import { describe, test } from 'vitest'
import { lockCases } from './all-lock-cases.ts'
import type { LockHarness } from './lock-harness.ts'
import { LockWorld } from './lock-world.ts'

/**
 * Registers one test per behaviour that a lock driver must show, on whatever server the harness knows. Cases that the
 * driver's declared `features` or the harness's faults do not cover are skipped and say why.
 */
export function lockConformance(name: string, harness: LockHarness): void {
  describe(`lock conformance: ${name}`, () => {
    for (const { name: title, skip, run } of lockCases) {
      test(title, { timeout: 30_000 }, async (context) => {
        const world = new LockWorld(harness)
        try {
          const reason = await skip?.(world)
          context.skip(reason !== undefined, reason)
          await run(world)
        } finally {
          await world.close()
        }
      })
    }
  })
}
