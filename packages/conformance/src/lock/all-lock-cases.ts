import { exclusionCases } from './exclusion-cases.ts'
import { faultCases } from './fault-cases.ts'
import { jobCases } from './job-cases.ts'
import { leaseCases } from './lease-cases.ts'
import type { LockCase } from './lock-case.ts'
import { sharedCases } from './shared-cases.ts'
import { waitingCases } from './waiting-cases.ts'

/** Everything that a lock driver must show. */
export const lockCases: readonly LockCase[] = [
  ...exclusionCases,
  ...leaseCases,
  ...waitingCases,
  ...sharedCases,
  ...jobCases,
  ...faultCases,
]
