import { checkCount, checkFunction, checkKnownOptions, checkMs, checkSignal } from '../runtime/check.ts'
import type { ConsumeOptions, QueueFeatures } from './queue-driver.ts'

/** How one worker of this node takes jobs. */
export interface ProcessOptions {
  /** How many jobs run at once on this node. 0: as many as the backend's driver allows. Default 1. */
  readonly concurrency?: number
  /** How many jobs this node may hold, those that run included. Default: as many as may run. */
  readonly prefetch?: number
  /**
   * Asked before each job, and every 250 ms: while it returns false this node takes no jobs, and what it had fetched and not started goes
   * back.
   */
  readonly idle?: () => boolean
  /** How long a job stays with a node that is not heard of. Default 30,000. */
  readonly leaseMs?: number
  /** A job that was cut short by more crashes than that is a dead letter. Default 20. */
  readonly maxCrashes?: number
  /** How long a handler may go on after its signal was aborted, before its slot is given to another job. Default 5,000. */
  readonly handlerGraceMs?: number
  /** Closes the worker when aborted. */
  readonly signal?: AbortSignal
}

export interface ProcessSettings extends ConsumeOptions {
  readonly idle: (() => boolean) | undefined
  readonly handlerGraceMs: number
}

const optionNames: readonly (keyof ProcessOptions)[] = [
  'concurrency',
  'prefetch',
  'idle',
  'leaseMs',
  'maxCrashes',
  'handlerGraceMs',
  'signal',
]

export function readProcessOptions(
  handler: unknown,
  options: ProcessOptions,
  { maxConcurrency }: QueueFeatures,
): ProcessSettings {
  checkFunction('handler', handler)
  checkKnownOptions('process', options, optionNames)
  checkSignal('signal', options.signal)
  if (options.idle !== undefined) checkFunction('idle', options.idle)
  const given = checkCount('concurrency', options.concurrency ?? 1, { min: 0, max: maxConcurrency })
  const concurrency = given === 0 ? maxConcurrency : given
  return {
    concurrency,
    prefetch: checkCount('prefetch', options.prefetch ?? concurrency, { min: concurrency, max: 65_535 }),
    idle: options.idle,
    leaseMs: checkMs('leaseMs', options.leaseMs ?? 30_000, { min: 1_000 }),
    maxCrashes: checkCount('maxCrashes', options.maxCrashes ?? 20, { min: 0, max: 1_000_000 }),
    handlerGraceMs: checkMs('handlerGraceMs', options.handlerGraceMs ?? 5_000, { min: 0 }),
  }
}
