import is from '@sindresorhus/is'
import { MultinodeError } from '../errors/multinode-error.ts'
import { checkKnownOptions, checkMs } from '../runtime/check.ts'
import type { BackoffSettings } from './queue-driver.ts'

export interface BackoffOptions {
  /** `exponential`: twice as long each time. */
  readonly type: 'fixed' | 'exponential'
  /** After the first attempt. */
  readonly delayMs: number
  /** Never longer. Default 1 hour. */
  readonly maxDelayMs?: number
  /** Which part of each delay is random, 0 to 1, so that jobs which failed together do not come back together. Default 1: from 0 to the whole delay. */
  readonly jitter?: number
}

export const defaultBackoff: BackoffSettings = {
  type: 'exponential',
  delayMs: 1_000,
  maxDelayMs: 3_600_000,
  jitter: 1,
}

export function readBackoff(options: BackoffOptions): BackoffSettings {
  checkKnownOptions('backoff', options, ['type', 'delayMs', 'maxDelayMs', 'jitter'])
  const { type, delayMs, maxDelayMs = defaultBackoff.maxDelayMs, jitter = defaultBackoff.jitter } = options
  if (type !== 'fixed' && type !== 'exponential')
    throw invalid('backoff.type', type, '"fixed" or "exponential"')
  if (!is.number(jitter) || !is.inRange(jitter, [0, 1]))
    throw invalid('backoff.jitter', jitter, 'a number from 0 to 1')
  return {
    type,
    delayMs: checkMs('backoff.delayMs', delayMs, { min: 0 }),
    maxDelayMs: checkMs('backoff.maxDelayMs', maxDelayMs, { min: 0 }),
    jitter,
  }
}

/** "Full jitter" for `jitter: 1`: M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015. */
export function delayAfter(
  attempt: number,
  backoff: BackoffSettings,
  random: () => number = Math.random,
): number {
  // Bounded, because 2 ** 1024 is Infinity, and 0 times that is no number.
  const doublings = backoff.type === 'fixed' ? 0 : Math.min(attempt - 1, 1_000)
  const grown = backoff.delayMs * 2 ** doublings
  const delayMs = Math.min(grown, backoff.maxDelayMs)
  return Math.round(delayMs * (1 - backoff.jitter * random()))
}

function invalid(name: string, value: unknown, accepted: string): MultinodeError {
  return new MultinodeError('INVALID_ARGUMENT', `${name} is ${String(value)}; it must be ${accepted}.`, {
    capability: 'queue',
    details: { name },
  })
}
