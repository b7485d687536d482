import { batchCases } from './batch-cases.ts'
import { bloomCases } from './bloom-cases.ts'
import type { CacheCase } from './cache-case.ts'
import { claimCases } from './claim-cases.ts'
import { closingCases } from './closing-cases.ts'
import { coherenceCases } from './coherence-cases.ts'
import { counterCases } from './counter-cases.ts'
import { faultCases } from './fault-cases.ts'
import { fileCases } from './file-cases.ts'
import { invalidationCases } from './invalidation-cases.ts'
import { keyCases } from './key-cases.ts'
import { loadingCases } from './loading-cases.ts'
import { raceCases } from './race-cases.ts'
import { timeCases } from './time-cases.ts'
import { unsupportedCases } from './unsupported-cases.ts'
import { valueCases } from './value-cases.ts'

/** Everything that a driver of a cache must show. */
export const cacheCases: readonly CacheCase[] = [
  ...valueCases,
  ...keyCases,
  ...batchCases,
  ...timeCases,
  ...claimCases,
  ...invalidationCases,
  ...loadingCases,
  ...raceCases,
  ...coherenceCases,
  ...counterCases,
  ...bloomCases,
  ...fileCases,
  ...closingCases,
  ...unsupportedCases,
  ...faultCases,
]
