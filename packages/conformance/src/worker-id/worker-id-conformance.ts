import { describe, test } from 'vitest'
import { workerIdCases } from './all-worker-id-cases.ts'
import type { WorkerIdCase } from './worker-id-case.ts'
import type { WorkerIdHarness } from './worker-id-harness.ts'
import { WorkerIdWorld } from './worker-id-world.ts'

/**
 * Registers one test per behaviour that a driver of worker ids must show, on whatever server the harness knows. Cases that the harness's faults do
 * not cover are skipped and say why. Those that only wait run side by side, each in a cluster of its own.
 */
export function workerIdConformance(name: string, harness: WorkerIdHarness): void {
  const register = ({ name: title, isAlone, skip, run }: WorkerIdCase): void => {
    test(title, { timeout: 30_000, concurrent: isAlone !== true }, async (context) => {
      const world = new WorkerIdWorld(harness)
      try {
        const reason = await skip?.(world)
        context.skip(reason !== undefined, reason)
        await run(world)
      } finally {
        await world.close()
      }
    })
  }
  describe(`worker id conformance: ${name}`, () => {
    for (const workerIdCase of workerIdCases) register(workerIdCase)
  })
}
