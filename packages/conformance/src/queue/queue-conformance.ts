import { describe, test } from 'vitest'
import { queueCases } from './all-queue-cases.ts'
import type { QueueCase } from './queue-case.ts'
import type { QueueHarness } from './queue-harness.ts'
import { QueueWorld } from './queue-world.ts'

/**
 * Registers one test per behaviour that a driver of queues must show, on whatever server the harness knows. Cases that the
 * driver's declared `features` or the harness's faults do not cover are skipped and say why. Those that only wait run side by side, each in
 * a cluster of its own.
 */
export function queueConformance(name: string, harness: QueueHarness): void {
  const register = ({ name: title, isAlone, skip, run }: QueueCase): void => {
    test(title, { timeout: 60_000, concurrent: isAlone !== true }, async (context) => {
      const world = new QueueWorld(harness)
      try {
        const reason = await skip?.(world)
        context.skip(reason !== undefined, reason)
        await run(world)
      } finally {
        await world.close()
      }
    })
  }
  describe(`queue conformance: ${name}`, () => {
    for (const queueCase of queueCases) register(queueCase)
  })
}
