import type {
  CacheDriver,
  CacheSpace,
  ClaimReply,
  NewEntry,
  NodeIdentity,
  StoredEntry,
} from '@multinode/core'
import { bareSpace } from './faulty-memory-cache.ts'

/** What a flaw changes of a driver that is otherwise right. */
export type Break = (driver: CacheDriver, node: NodeIdentity) => Partial<CacheDriver>

const longMs = 60_000

/** A driver whose spaces are flawed. */
export function spaces(change: (space: CacheSpace, node: NodeIdentity) => Partial<CacheSpace>): Break {
  return (driver, node) => ({
    open: (definition) => {
      const space = driver.open(definition)
      return { ...bareSpace(space), ...change(space, node) }
    },
  })
}

/** A space that is given other entries than the caller said. */
export function storing(
  change: (entry: NewEntry, index: number, all: readonly NewEntry[]) => Partial<NewEntry>,
): Break {
  return spaces((space) => ({
    set: (entries, timeoutMs) =>
      space.set(
        entries.map((entry, index) => ({ ...entry, ...change(entry, index, entries) })),
        timeoutMs,
      ),
    fill: (entry, owner, snapshot, timeoutMs) =>
      space.fill({ ...entry, ...change(entry, 0, [entry]) }, owner, snapshot, timeoutMs),
  }))
}

/** A space that returns something else than what is stored. */
export function finding(change: (entry: StoredEntry) => StoredEntry | undefined): Break {
  const changed = (entry: StoredEntry | undefined): StoredEntry | undefined => entry && change(entry)
  return spaces((space) => ({
    get: async (key, timeoutMs) => changed(await space.get(key, timeoutMs)),
    getMany: async (keys, timeoutMs) => (await space.getMany(keys, timeoutMs)).map(changed),
  }))
}

/** A space that takes keys for others. */
export function keying(keyOf: (key: string) => string): Break {
  const renamed = <T extends { readonly key: string }>(each: T): T => ({ ...each, key: keyOf(each.key) })
  return spaces((space) => ({
    get: (key, timeoutMs) => space.get(keyOf(key), timeoutMs),
    getMany: (keys, timeoutMs) => space.getMany(keys.map(keyOf), timeoutMs),
    claim: (request, timeoutMs) => space.claim(renamed(request), timeoutMs),
    renew: (key, owner, leaseMs, timeoutMs) => space.renew(keyOf(key), owner, leaseMs, timeoutMs),
    fill: (entry, owner, snapshot, timeoutMs) => space.fill(renamed(entry), owner, snapshot, timeoutMs),
    release: (key, owner, timeoutMs) => space.release(keyOf(key), owner, timeoutMs),
    set: (entries, timeoutMs) => space.set(entries.map(renamed), timeoutMs),
    delete: (keys, timeoutMs) => space.delete(keys.map(keyOf), timeoutMs),
  }))
}

/** A space that answers claims otherwise. */
export function claiming(change: (reply: ClaimReply) => ClaimReply): Break {
  return spaces((space) => ({
    claim: async (request, timeoutMs) => change(await space.claim(request, timeoutMs)),
  }))
}

/** What the namespace and these tags are now, by a claim that nobody else can meet. */
export async function snapshotNow(
  space: CacheSpace,
  tags: readonly string[],
  timeoutMs: number,
): Promise<unknown> {
  const request = { key: 'the key of a flaw', owner: 'flaw', leaseMs: longMs, tags }
  const reply = await space.claim(request, timeoutMs)
  await space.release(request.key, request.owner, timeoutMs)
  return reply.status === 'granted' ? reply.snapshot : undefined
}

/** Stores it, whoever has the lease, with what is so now. */
export async function storeAnyway(space: CacheSpace, entry: NewEntry, timeoutMs: number): Promise<'stored'> {
  await space.set([entry], timeoutMs)
  return 'stored'
}

/** What all nodes of a cluster share, by its name. */
export function shared<T>(create: () => T): (node: NodeIdentity) => T {
  const all = new Map<string, T>()
  return ({ clusterName }) => {
    const found = all.get(clusterName) ?? create()
    all.set(clusterName, found)
    return found
  }
}
