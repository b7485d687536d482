import {
  checkChoice,
  checkCount,
  checkFunction,
  checkKnownOptions,
  checkMs,
  checkSignal,
} from '../runtime/check.ts'
import { MultinodeError } from '../errors/multinode-error.ts'
import type { GapHandler, SignalHandler, SubscriptionSettings } from './subscription.ts'
import { checkPattern } from './topic.ts'

export interface SubscribeOptions {
  /**
   * Called when signals may be missing, before any later one: refetch what they are about. Delivery goes on when it has resolved; when it rejects, or takes longer than
   * `gapTimeoutMs`, it is called again, after 1 s and ever longer. `ignore` says aloud that what is missed does not matter.
   */
  readonly onGap: GapHandler | 'ignore'
  /** Signals of this node itself: `skip` (default), `include`, or `only` these. */
  readonly self?: 'skip' | 'include' | 'only'
  /**
   * When `maxQueue` signals wait: `gap` (default) drops them and calls `onGap`; `coalesce` does so too, but of signals with one topic and key keeps the last
   * only; `block` reads no further, for all subscriptions of this node.
   */
  readonly overflow?: 'gap' | 'coalesce' | 'block'
  /** Waits so long with each signal for others of its topic and key; the last one counts. Default 0. */
  readonly coalesceMs?: number
  /** How many signals may wait for the handler. Default 1,000. */
  readonly maxQueue?: number
  /** How long `onGap` may take, in ms. Default 30,000. */
  readonly gapTimeoutMs?: number
  /** Ends the subscription when aborted. */
  readonly signal?: AbortSignal
}

const optionNames: readonly (keyof SubscribeOptions)[] = [
  'onGap',
  'self',
  'overflow',
  'coalesceMs',
  'maxQueue',
  'gapTimeoutMs',
  'signal',
]

export function readSubscribeOptions(
  pattern: string,
  handler: SignalHandler,
  options: SubscribeOptions,
): SubscriptionSettings {
  checkPattern(pattern)
  checkFunction('handler', handler)
  checkKnownOptions('subscribe', options, optionNames)
  checkSignal('signal', options.signal)
  if (options.onGap !== 'ignore') checkOnGap(options.onGap)
  return {
    pattern,
    handler,
    onGap: options.onGap,
    self: checkChoice('self', options.self ?? 'skip', ['skip', 'include', 'only']),
    overflow: checkChoice('overflow', options.overflow ?? 'gap', ['gap', 'coalesce', 'block']),
    coalesceMs: checkMs('coalesceMs', options.coalesceMs ?? 0, { min: 0, max: 3_600_000 }),
    maxQueue: checkCount('maxQueue', options.maxQueue ?? 1_000, { min: 1, max: 1_000_000 }),
    gapTimeoutMs: checkMs('gapTimeoutMs', options.gapTimeoutMs ?? 30_000, { min: 1 }),
  }
}

function checkOnGap(onGap: unknown): void {
  if (onGap !== undefined) return checkFunction('onGap', onGap)
  throw new MultinodeError(
    'INVALID_ARGUMENT',
    "onGap is missing: pass a function that refetches what the signals are about, or 'ignore' if it does not matter when some are missed.",
    { capability: 'pubsub', details: { name: 'onGap' } },
  )
}
