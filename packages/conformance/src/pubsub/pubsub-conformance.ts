import { describe, test } from 'vitest'
import { pubsubCases } from './all-pubsub-cases.ts'
import type { PubSubHarness } from './pubsub-harness.ts'
import { PubSubWorld } from './pubsub-world.ts'

/**
 * Registers one test per behaviour that a driver of signals must show, on whatever server the harness knows. Cases that the
 * driver's declared `features` or the harness's faults do not cover are skipped and say why.
 */
export function pubsubConformance(name: string, harness: PubSubHarness): void {
  describe(`pubsub conformance: ${name}`, () => {
    for (const { name: title, skip, run } of pubsubCases) {
      test(title, { timeout: 60_000 }, async (context) => {
        const world = new PubSubWorld(harness)
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
