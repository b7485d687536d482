export interface BenchValue {
  readonly id: string
  readonly name: string
  readonly roles: readonly string[]
  readonly padding: string
}

/** About 200 bytes of JSON. */
export function valueOf(key: string): BenchValue {
  return { id: key, name: `User ${key}`, roles: ['reader', 'writer'], padding: 'x'.repeat(120) }
}

/** For all sides: longer than the bench. */
export const ttlMs = 600_000

/** What a call returns is awaited, whatever it is. */
type Answer<T> = T | Promise<T>

/** One namespace of one node. */
export interface CacheSide extends AsyncDisposable {
  get(key: string): Answer<BenchValue | null | undefined>
  set(key: string, value: BenchValue): Promise<unknown>
  getOrSet(key: string, make: () => Promise<BenchValue>): Answer<BenchValue | undefined>
  clear(): Promise<unknown>
}

/** `both`: what is in this process, over Redis; `redis`: Redis alone. */
export type Tiers = 'both' | 'redis'

export type OpenCache = (url: string, tiers: Tiers) => Promise<CacheSide>
