import { checkBoolean, checkCount, checkKnownOptions, checkMs } from '../runtime/check.ts'
import { checkSchema, type Schema } from '../runtime/standard-schema.ts'
import { type BackoffOptions, defaultBackoff, readBackoff } from './backoff.ts'
import type { BackoffSettings } from './queue-driver.ts'

/** How a job is retried, and for how long it may run: for all jobs of a queue, or for one. Stored with the job by the node that adds it. */
export interface JobPolicy {
  /** How often it is tried in all. Default 1. */
  readonly attempts?: number
  /** How long it waits between attempts. Default: exponential from 1 s to 1 hour, with full jitter. */
  readonly backoff?: BackoffOptions
  /** How long one attempt may take: then its `signal` is aborted, and it counts as failed unless it resolves within `handlerGraceMs`. Default: as long as it wants. */
  readonly timeoutMs?: number
  /**
   * An attempt that would begin later does not, also when there were others before: the job is gone, and `expired` is told. A dead
   * letter that waits again runs in any case. Default: never.
   */
  readonly expiresInMs?: number
}

export interface QueueOptions<T> extends JobPolicy {
  /** Whether its jobs have priorities. All nodes must say the same. Default false. */
  readonly priorities?: boolean
  /** Checked when a job is added and before it runs, because another version of the app may have added it. */
  readonly schema?: Schema<T>
}

export interface PolicySettings {
  readonly attemptsMax: number
  readonly backoff: BackoffSettings
  readonly timeoutMs: number | undefined
  readonly expiresInMs: number | undefined
}

export interface QueueSettings {
  readonly policy: PolicySettings
  readonly hasPriorities: boolean
  readonly schema: Schema<unknown> | undefined
}

export const policyNames: readonly (keyof JobPolicy)[] = ['attempts', 'backoff', 'timeoutMs', 'expiresInMs']

const defaultPolicy: PolicySettings = {
  attemptsMax: 1,
  backoff: defaultBackoff,
  timeoutMs: undefined,
  expiresInMs: undefined,
}

export function readQueueOptions<T>(options: QueueOptions<T>): QueueSettings {
  checkKnownOptions('queue', options, [...policyNames, 'priorities', 'schema'])
  return {
    policy: readPolicy(options, defaultPolicy),
    hasPriorities: checkBoolean('priorities', options.priorities ?? false),
    schema: options.schema === undefined ? undefined : checkSchema(options.schema, 'queue'),
  }
}

export function readPolicy(options: JobPolicy, otherwise: PolicySettings): PolicySettings {
  const { attempts, backoff, timeoutMs, expiresInMs } = options
  if (attempts === undefined && backoff === undefined && timeoutMs === undefined && expiresInMs === undefined)
    return otherwise
  return {
    attemptsMax:
      attempts === undefined
        ? otherwise.attemptsMax
        : checkCount('attempts', attempts, { min: 1, max: 1_000_000 }),
    backoff: backoff === undefined ? otherwise.backoff : readBackoff(backoff),
    timeoutMs: timeoutMs === undefined ? otherwise.timeoutMs : checkMs('timeoutMs', timeoutMs, { min: 1 }),
    expiresInMs:
      expiresInMs === undefined
        ? otherwise.expiresInMs
        : checkMs('expiresInMs', expiresInMs, { min: 1, max: longestMs }),
  }
}

/** A thousand years: what a moment in the future is allowed to be away. */
export const longestMs = 31_557_600_000_000
