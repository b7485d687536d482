import type { LeaseVerbs } from './lock-driver.ts'

/** What a lease is taken on: a key, and the verbs of its kind of lock. */
export interface LeaseTarget {
  /** As the app named it: for errors, `drain` and traces. */
  readonly key: string
  /** As the driver knows it. */
  readonly driverKey: string
  readonly verbs: LeaseVerbs
}

/** As much of it as a lease that is held still needs. */
export interface HeldTarget {
  readonly key: string
  readonly driverKey: string
  readonly verbs: Pick<LeaseVerbs, 'extend' | 'release'>
}
