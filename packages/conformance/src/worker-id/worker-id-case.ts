import type { ConformanceCase } from '../conformance-case.ts'
import type { WorkerIdWorld } from './worker-id-world.ts'

/** The ways in which the kit's own tests break a driver. */
export type WorkerIdFlaw =
  | 'same-id-for-all'
  | 'ignores-range'
  | 'retry-after-is-wrong'
  | 'repeat-is-new'
  | 'owner-keys-collide'
  | 'clusters-meet'
  | 'accepts-any-clock'
  | 'forgets-owners'
  | 'owner-takes-over'
  | 'hint-is-ignored'
  | 'hint-is-believed'
  | 'reuses-the-last'
  | 'release-does-nothing'
  | 'floor-ignores-used'
  | 'floors-overlap'
  | 'serves-any-floor'
  | 'ceiling-is-unbounded'
  | 'ceiling-sinks'
  | 'no-quarantine'
  | 'renew-does-nothing'
  | 'expiry-is-final'
  | 'ignores-tokens'
  | 'never-says-lost'
  | 'holders-says-held'
  | 'holders-never-forgets'
  | 'first-start-is-ignored'
  | 'trusts-an-empty-backend'
  | 'loss-is-final'
  | 'claims-never-end'
  | 'deadline-is-ignored'
  | 'ping-always-succeeds'
  | 'close-twice-rejects'

export interface WorkerIdCase extends ConformanceCase<WorkerIdWorld, WorkerIdFlaw> {
  /** It disturbs the server for everybody, so no other case may run beside it. */
  readonly isAlone?: true
}
