import { randomUUID } from 'node:crypto'
import {
  type CacheClaimRequest,
  type CacheNamespace,
  isMultinodeError,
  type NamespaceOptions,
  type NewEntry,
  type StoredEntry,
} from '@multinode/core'
import { refusal } from '../refusal.ts'
import { callMs, type CacheNode, type CacheWorld } from './cache-world.ts'

export { refusal } from '../refusal.ts'

/** Longer than any case takes. */
export const longMs = 60_000

/** What is only in the backend. */
export const far: NamespaceOptions = { ttlMs: longMs, version: '1', l1: false, timeoutMs: callMs }

/** What is also kept in the process, and not for ever by chance. */
const near = {
  ttlMs: longMs,
  version: '1',
  l1: { maxItems: 10_000, ttlMs: longMs },
  timeoutMs: callMs,
} as const

/** What a case changes of an entry that lasts. */
export type EntryChange = Partial<Omit<NewEntry, 'key' | 'data'>>

/** An entry that lasts, where nothing else is said. */
export function entry(key: string, text: string, change: EntryChange = {}): NewEntry {
  return { key, data: Buffer.from(text), ttlMs: longMs, graceMs: 0, tags: [], ...change }
}

/** A claim of somebody else than everybody before, with a lease that lasts. */
export function claimOf(
  key: string,
  { leaseMs = longMs, tags = [] }: { readonly leaseMs?: number; readonly tags?: readonly string[] } = {},
): CacheClaimRequest {
  return { key, owner: randomUUID(), leaseMs, tags }
}

/** What is in them, as text. */
export function textsOf(found: readonly (StoredEntry | undefined)[]): (string | undefined)[] {
  return found.map((each) => each?.data.toString())
}

export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

/** What the case awaits later, or never where it fails before. */
export function later<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {})
  return work
}

/** The code of what a call rejects with. */
export async function codeOf(work: Promise<unknown>): Promise<unknown> {
  const error = await refusal(work)
  return isMultinodeError(error) ? error.code : error
}

/** Work that goes on until it is told to end. */
export class Gate<T> {
  #open: (value: T) => void = () => {}
  readonly #ended = new Promise<T>((resolve) => {
    this.#open = resolve
  })
  /** How often somebody came to it. */
  arrivals = 0

  open(value: T): void {
    this.#open(value)
  }

  /** A factory. */
  readonly pass = (): Promise<T> => {
    this.arrivals += 1
    return this.#ended
  }
}

/** A namespace on a node that keeps values for itself. */
export interface NearSpace {
  readonly node: CacheNode
  readonly space: CacheNamespace<string>
}

/** The same namespace on two nodes, as soon as both keep what they read. */
export async function nearPair(world: CacheWorld): Promise<[NearSpace, NearSpace]> {
  const [one, two] = await world.twoNodes()
  const here = { node: one, space: one.cache.namespace<string>('things', near) }
  const there = { node: two, space: two.cache.namespace<string>('things', near) }
  await here.space.set('kept', 'kept')
  for (const each of [here, there]) await untilKept(world, each, ['kept'])
  return [here, there]
}

/** A lease that nobody loses who renews it on a machine that stands still for a moment; less where somebody waits for it to be lost. */
export function renewedLeaseMs({ patienceMs }: CacheWorld): number {
  return Math.min(2_400, patienceMs)
}

/** When all of them are read from what the node keeps. */
export async function untilKept(
  world: CacheWorld,
  { node, space }: NearSpace,
  keys: readonly string[],
): Promise<void> {
  await world.until(`it keeps ${keys.length} values`, async () => {
    const before = node.cache.stats().localHits
    await space.getMany(keys)
    return node.cache.stats().localHits - before === keys.length
  })
}

type Part = 'counters' | 'bloomFilters' | 'files'

/** Skips a case where the adapter has no such part. */
export function without(part: Part): (world: CacheWorld) => Promise<string | undefined> {
  return async (world) => {
    const { driver } = await world.node()
    return driver[part] === undefined ? `the adapter has no ${part}` : undefined
  }
}

/** Skips a case that is about what an adapter lacks. */
export function withIt(part: Part): (world: CacheWorld) => Promise<string | undefined> {
  return async (world) => {
    const { driver } = await world.node()
    return driver[part] === undefined ? undefined : `the adapter has ${part}`
  }
}
