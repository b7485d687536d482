import { describe, test } from 'vitest'
import { cacheCases } from './all-cache-cases.ts'
import type { CacheCase } from './cache-case.ts'
import type { CacheHarness } from './cache-harness.ts'
import { CacheWorld } from './cache-world.ts'

/**
 * Registers one test per behaviour that a driver of a cache must show, on whatever server the harness knows. Cases that the
 * driver's declared `features` or the harness's faults do not cover are skipped and say why. Those that only wait run side by side, each in
 * a cluster of its own.
 */
export function cacheConformance(name: string, harness: CacheHarness): void {
  const register = ({ name: title, isAlone, skip, run }: CacheCase): void => {
    test(title, { timeout: 60_000, concurrent: isAlone !== true }, async (context) => {
      const world = new CacheWorld(harness)
      try {
        const reason = await skip?.(world)
        context.skip(reason !== undefined, reason)
        await run(world)
      } finally {
        await world.close()
      }
    })
  }
  describe(`cache conformance: ${name}`, () => {
    for (const cacheCase of cacheCases) register(cacheCase)
  })
}
