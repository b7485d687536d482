import type { ConformanceCase } from '../conformance-case.ts'
import type { LockWorld } from './lock-world.ts'

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
