import { checkCount, invalid, isObject } from './check.ts'
import type { Format } from './layout.ts'
import { SnowflakeError } from './snowflake-error.ts'

/** A worker id with the timestamps that go with it; `WorkerLease` of @multinode/core has this shape. */
export interface WorkerSource {
  readonly id: number
  /** Called once, by the generator that takes the timestamps. */
  claim(): TimestampWindow
}

/** The timestamps that may be put into ids of this worker id. A tick belongs to the window that contains its start. */
export interface TimestampWindow {
  /** The first timestamp that may be used, in ms since 1970. May rise later, so it is asked at every new tick. */
  floor(): number
  /**
   * The last one that may be used now, in ms since 1970; rises as the lease is renewed. Throws when the id is no longer ours: the generator
   * lets that error through.
   */
  ceiling(): number
  /** Told before the first id of a tick is given out: the start of that tick, in ms since 1970. */
  used(timestampMs: number): void
}

/** What a generator asks at every new tick. */
export interface Window {
  readonly workerId: number
  /** How far a plain number may run ahead of its clock; none for a lease. */
  readonly maxAheadMs: number | undefined
  floor(): number
  /** `trustedMs` is the clock, and what it has been set back by since. */
  ceiling(trustedMs: number): number
  used(timestampMs: number): void
}

const defaultMaxAheadMs = 1000
const longestAheadMs = 86_400_000

/** Checks a worker and claims its timestamps; nothing is claimed when something is wrong. */
export function openWindow(
  worker: number | WorkerSource,
  maxAheadMs: number | undefined,
  format: Format,
): Window {
  if (typeof worker === 'number') {
    checkCount('worker', worker, { min: 0, max: format.workers - 1 })
    const aheadMs = checkCount('maxAheadMs', maxAheadMs ?? defaultMaxAheadMs, { min: 0, max: longestAheadMs })
    return aheadOfClock(worker, aheadMs)
  }
  if (!isObject(worker) || typeof worker.claim !== 'function') {
    throw invalid('worker', worker, 'a whole number, or a lease with id and claim()')
  }
  checkLeasedId(worker.id, format)
  if (maxAheadMs !== undefined) {
    throw invalid('maxAheadMs', maxAheadMs, 'left out with a lease, which says itself how far ids may go')
  }
  return claimed(worker.id, worker.claim())
}

function checkLeasedId(id: number, format: Format): void {
  if (Number.isSafeInteger(id) && id >= format.workers) {
    throw new SnowflakeError(
      'INVALID_ARGUMENT',
      `worker is a lease of id ${id}, and ${format.name} has room for ${format.workers} workers: acquire it with { range: ${format.workers} }.`,
      { name: 'worker', value: id },
    )
  }
  checkCount('worker.id', id, { min: 0, max: format.workers - 1 })
}

function aheadOfClock(workerId: number, maxAheadMs: number): Window {
  return {
    workerId,
    maxAheadMs,
    floor: () => -Infinity,
    ceiling: (trustedMs) => trustedMs + maxAheadMs,
    used: () => {},
  }
}

function claimed(workerId: number, window: TimestampWindow): Window {
  return {
    workerId,
    maxAheadMs: undefined,
    floor: () => told('floor', window.floor()),
    ceiling: () => told('ceiling', window.ceiling()),
    used: (timestampMs) => window.used(timestampMs),
  }
}

/** NaN is neither below nor above anything: every comparison with it would let ids through. */
function told(name: string, value: number): number {
  if (typeof value === 'number' && !Number.isNaN(value)) return value
  throw invalid(`${name}() of the worker`, value, 'a number of ms since 1970')
}
