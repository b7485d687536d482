import type { ConformanceCase } from '../conformance-case.ts'
import { exclusionCases } from './exclusion-cases.ts'
import { faultCases } from './fault-cases.ts'
import { leaseCases } from './lease-cases.ts'
import type { LockWorld } from './lock-world.ts'
import { waitingCases } from './waiting-cases.ts'

/** The ways in which the kit's own tests break a driver. */
export type LockFlaw =
  | 'grants-while-held'
  | 'keys-collide'
  | 'token-repeats'
  | 'token-counts-from-one'
  | 'repeat-is-refused'
  | 'ttl-is-ignored'
  | 'extend-does-nothing'
  | 'extend-creates'
  | 'release-ignores-owner'
  | 'release-does-nothing'
  | 'cancel-does-nothing'
  | 'cancel-leaves-no-tombstone'
  | 'no-queue'
  | 'no-wake'
  | 'deadline-is-ignored'
  | 'ping-always-succeeds'
  | 'close-twice-rejects'

export type LockCase = ConformanceCase<LockWorld, LockFlaw>

/** Everything that a lock driver must show. */
export const lockCases: readonly LockCase[] = [
  ...exclusionCases,
  ...leaseCases,
  ...waitingCases,
  ...faultCases,
]
