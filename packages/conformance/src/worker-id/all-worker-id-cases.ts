import { choiceCases } from './choice-cases.ts'
import { exclusionCases } from './exclusion-cases.ts'
import { faultCases } from './fault-cases.ts'
import { leaseCases } from './lease-cases.ts'
import { lostStateCases } from './lost-state-cases.ts'
import { windowCases } from './window-cases.ts'
import type { WorkerIdCase } from './worker-id-case.ts'

/** Everything that a driver of worker ids must show. */
export const workerIdCases: readonly WorkerIdCase[] = [
  ...exclusionCases,
  ...choiceCases,
  ...windowCases,
  ...leaseCases,
  ...lostStateCases,
  ...faultCases,
]
