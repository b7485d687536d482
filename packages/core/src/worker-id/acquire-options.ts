import {
  checkBoolean,
  checkCount,
  checkKey,
  checkKnownOptions,
  checkMs,
  checkSignal,
} from '../runtime/check.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import type { LeaseTerms } from './worker-id-driver.ts'
import { hintFrom } from './worker-hint.ts'

export interface AcquireWorkerIdOptions extends Partial<LeaseTerms> {
  /** Ids are from 0 to `range` - 1; a snowflake layout with 5 bits for the worker has room for 32. Default 32, at most 4,096. */
  readonly range?: number
  /**
   * Who asks, over restarts: gets the id again that it had last, when that is safe. Default: `NODE_ID` or what stands for it, else a
   * name that this process keeps.
   */
  readonly ownerKey?: string
  /**
   * Which id to take if it is free; only a hint. Default, the first that is there: `WORKER_ID`, `TASK_SLOT` (Docker Swarm), `POD_INDEX`
   * or the number at the end of the host name (StatefulSet), `NODE_APP_INSTANCE` (PM2), the last number of the IPv4 address; modulo `range`.
   */
  readonly prefer?: number
  /** How long to wait while no id is free, in ms. Default 30,000; 0 asks once. */
  readonly waitMs?: number
  /** Ends the waiting (`ABORTED`). Has no effect once the id is ours. */
  readonly signal?: AbortSignal
  /**
   * Your word that no process of this cluster made ids before, or not within the last `leaseMs + maxSkewMs`. Only then a backend without
   * data gives ids at once; otherwise it waits for so long, because it may have lost what it knew. For development and tests. Default false.
   */
  readonly isFirstStart?: boolean
  /** How long an id stays ours without renewal, in ms; renewed every third of it. Default 15,000. The same on all nodes. */
  readonly leaseMs?: number
  /** How long an id is given to nobody after a lease that ran out, in ms. Default 15,000. The same on all nodes. */
  readonly quarantineMs?: number
  /** How far the clocks of nodes and backend may differ, in ms; more is refused with `CLOCK_SKEW`. Default 5,000. The same on all nodes. */
  readonly maxSkewMs?: number
  /** How far ids may run ahead of the backend's clock, besides the lease, in ms. Default 5,000. The same on all nodes. */
  readonly maxAheadMs?: number
}

/** The options, checked and completed. */
export interface Wanted {
  readonly range: number
  readonly ownerKey: string
  readonly prefer: number | undefined
  readonly waitMs: number
  readonly signal: AbortSignal | undefined
  readonly isFirstStart: boolean
  readonly terms: LeaseTerms
}

const optionNames: readonly (keyof AcquireWorkerIdOptions)[] = [
  'range',
  'ownerKey',
  'prefer',
  'waitMs',
  'signal',
  'isFirstStart',
  'leaseMs',
  'quarantineMs',
  'maxSkewMs',
  'maxAheadMs',
]

export function readAcquireOptions(
  options: AcquireWorkerIdOptions,
  defaultOwnerKey: string,
  { env }: CapabilityContext,
): Wanted {
  checkKnownOptions('acquire', options, optionNames)
  checkSignal('signal', options.signal)
  const range = checkCount('range', options.range ?? 32, { min: 1, max: 4_096 })
  const { prefer } = options
  if (prefer !== undefined) checkCount('prefer', prefer, { min: 0, max: range - 1 })
  return {
    range,
    ownerKey: checkKey('ownerKey', options.ownerKey ?? defaultOwnerKey),
    prefer: prefer ?? hintFrom(env, range),
    waitMs: checkMs('waitMs', options.waitMs ?? 30_000, { min: 0 }),
    signal: options.signal,
    isFirstStart: checkBoolean('isFirstStart', options.isFirstStart ?? false),
    terms: readTerms(options),
  }
}

function readTerms(options: AcquireWorkerIdOptions): LeaseTerms {
  const upToADay = { min: 0, max: 86_400_000 }
  return {
    leaseMs: checkMs('leaseMs', options.leaseMs ?? 15_000, { min: 100, max: 3_600_000 }),
    quarantineMs: checkMs('quarantineMs', options.quarantineMs ?? 15_000, upToADay),
    maxSkewMs: checkMs('maxSkewMs', options.maxSkewMs ?? 5_000, { min: 1, max: 60_000 }),
    maxAheadMs: checkMs('maxAheadMs', options.maxAheadMs ?? 5_000, { min: 0, max: 3_600_000 }),
  }
}
