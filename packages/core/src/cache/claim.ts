import { randomUUID } from 'node:crypto'
import { isMultinodeError } from '../errors/multinode-error.ts'
import { pause } from '../runtime/clock.ts'
import { randomBetween } from '../runtime/random.ts'
import type { ClaimReply, StoredEntry } from './cache-driver.ts'
import { MakingLease, releaseLease } from './making-lease.ts'
import { failsOpen, type SpaceParts } from './space-parts.ts'

/** A stored value, and what is known of it. */
export interface Found<T> {
  readonly value: T
  readonly entry: StoredEntry
}

/**
 * Whose turn it is to make a value. `stored`: somebody has, meanwhile. `ours`. `theirs`: another node makes it, and this is what may be served until then. `alone`: the
 * backend is away (`isAway`), or the other node takes too long: this node makes one for itself.
 */
export type Turn<T> =
  | { readonly status: 'stored'; readonly found: Found<T> }
  | { readonly status: 'ours'; readonly lease: MakingLease<T>; readonly stale: Found<T> | undefined }
  | { readonly status: 'theirs'; readonly stale: Found<T> }
  | { readonly status: 'alone'; readonly isAway: boolean }

const firstPauseMs = 10
const longestPauseMs = 80

/** @returns undefined for what cannot be read */
export function readEntry<T>({ codec }: SpaceParts<T>, entry: StoredEntry): Found<T> | undefined {
  const value = codec.decode(entry.data)
  // The app says what its values are, once for each place where it asks for the namespace.
  return value === undefined ? undefined : { value: value as T, entry }
}

export interface TurnRequest {
  readonly key: string
  /** What the value will be tagged with. */
  readonly tags: readonly string[]
  readonly signal: AbortSignal
  /** Another node makes the value, and there is none that may be served until then. */
  readonly onNothing: () => void
}

/**
 * Waits for another node that makes the value, for `lockTimeoutMs`. One round trip when nobody does. Rejects with the reason of the signal, when it is aborted while this waits; a claim that is
 * under way then is awaited.
 */
export async function takeTurn<T>(parts: SpaceParts<T>, request: TurnRequest): Promise<Turn<T>> {
  const { clock } = parts.context
  const { key, signal, onNothing } = request
  const owner = randomUUID()
  const untilMs = clock.monotonicMs() + parts.settings.lockTimeoutMs
  let wasUnreadable = false
  for (let pauseMs = firstPauseMs; ;) {
    signal.throwIfAborted()
    const reply = await claim(parts, request, owner)
    if (reply === undefined) return { status: 'alone', isAway: true }
    const turn = turnOf(parts, key, owner, reply)
    if (turn !== undefined) return turn
    onNothing()
    if (clock.monotonicMs() >= untilMs) return { status: 'alone', isAway: false }
    const isUnreadable = reply.status === 'fresh'
    // What nobody can read would be in the way of the new value.
    if (isUnreadable) await remove(parts, key)
    if (!isUnreadable || wasUnreadable) {
      if (pauseMs === firstPauseMs) parts.stats.leaseWaits += 1
      await pause(clock, randomBetween(Math.ceil(pauseMs / 2), pauseMs), signal)
      pauseMs = Math.min(longestPauseMs, pauseMs * 2)
    }
    wasUnreadable = isUnreadable
  }
}

/** @returns undefined when the backend is away */
async function claim<T>(
  parts: SpaceParts<T>,
  { key, tags, signal }: TurnRequest,
  owner: string,
): Promise<ClaimReply | undefined> {
  const { backend, space, settings } = parts
  const request = { key, owner, leaseMs: settings.leaseMs, tags }
  try {
    return await backend.read('claim', settings.timeoutMs, (timeoutMs) => space.claim(request, timeoutMs))
  } catch (error) {
    // Nobody knows that it has it, so nobody would end it.
    if (isMultinodeError(error) && error.outcome !== 'not-sent') {
      const released = releaseLease(parts, key, owner)
      // Nobody waits for the value any more, and the backend may be closed next.
      if (signal.aborted) await released
    }
    if (failsOpen(parts, error)) return undefined
    throw error
  }
}

/** @returns undefined when another node makes it, or when what is stored cannot be read */
function turnOf<T>(parts: SpaceParts<T>, key: string, owner: string, reply: ClaimReply): Turn<T> | undefined {
  if (reply.status === 'fresh') {
    const found = readEntry(parts, reply.entry)
    return found === undefined ? undefined : { status: 'stored', found }
  }
  const stale = reply.stale === undefined ? undefined : readEntry(parts, reply.stale)
  if (reply.status === 'granted') {
    return { status: 'ours', lease: new MakingLease(parts, key, owner, reply.snapshot), stale }
  }
  return stale === undefined ? undefined : { status: 'theirs', stale }
}

async function remove<T>(parts: SpaceParts<T>, key: string): Promise<void> {
  const { backend, space, settings } = parts
  try {
    await backend.call('delete', settings.timeoutMs, (timeoutMs) => space.delete([key], timeoutMs))
  } catch (error) {
    if (!failsOpen(parts, error)) throw error
  }
}
