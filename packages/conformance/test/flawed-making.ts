import { type CacheSpace, MultinodeError, type NewEntry, type NodeIdentity } from '@multinode/core'
import { type Break, claiming, shared, snapshotNow, spaces, storeAnyway, storing } from './flawed-space.ts'

const longMs = 60_000
const invalidationsOf = shared(() => new Map<string, number>())
const entriesOf = shared(() => new Map<string, NewEntry>())
const ownersOf = shared(() => new Map<string, string>())
const spacesOf = shared(() => new Set<CacheSpace>())

/** One invalidation in a while, and the next one is taken for the same. */
function once(node: NodeIdentity, what: string, work: () => Promise<void>): Promise<void> {
  const at = invalidationsOf(node)
  const isAnother = performance.now() - (at.get(what) ?? -Infinity) > 1_000
  if (isAnother) at.set(what, performance.now())
  return isAnother ? work() : Promise.resolve()
}

/** Leases that end by a fill, a release, and one of these only. */
function keepingLeases(endedBy: 'set' | 'delete'): Break {
  return spaces((space, node) => {
    const owners = ownersOf(node)
    return {
      claim: async (request, timeoutMs) => {
        const reply = await space.claim(request, timeoutMs)
        const owner = owners.get(request.key)
        if (reply.status !== 'granted') return reply
        if (owner === undefined) {
          owners.set(request.key, request.owner)
          return reply
        }
        await space.release(request.key, request.owner, timeoutMs)
        return { status: 'busy', stale: reply.stale }
      },
      fill: (entry, owner, snapshot, timeoutMs) => {
        const isHolder = owners.get(entry.key) === owner
        if (isHolder) owners.delete(entry.key)
        return isHolder ? storeAnyway(space, entry, timeoutMs) : space.fill(entry, owner, snapshot, timeoutMs)
      },
      release: (key, owner, timeoutMs) => {
        if (owners.get(key) === owner) owners.delete(key)
        return space.release(key, owner, timeoutMs)
      },
      set: (entries, timeoutMs) => {
        if (endedBy === 'set') for (const { key } of entries) owners.delete(key)
        return space.set(entries, timeoutMs)
      },
      delete: (keys, timeoutMs) => {
        if (endedBy === 'delete') for (const key of keys) owners.delete(key)
        return space.delete(keys, timeoutMs)
      },
    }
  })
}

/** One way to break who makes a value, and what becomes of it, for each case about that. */
export const flawedMaking = {
  'grants-all': spaces((space) => ({
    claim: async (request, timeoutMs) => {
      const reply = await space.claim(request, timeoutMs)
      if (reply.status !== 'busy') return reply
      const snapshot = await snapshotNow(space, request.tags, timeoutMs)
      return { status: 'granted', snapshot, stale: reply.stale }
    },
  })),
  'claims-what-is-fresh': spaces((space) => ({
    claim: async (request, timeoutMs) => {
      const reply = await space.claim(request, timeoutMs)
      if (reply.status !== 'fresh') return reply
      const snapshot = await snapshotNow(space, request.tags, timeoutMs)
      return { status: 'granted', snapshot, stale: reply.entry }
    },
  })),
  'fills-for-anybody': spaces((space) => ({ fill: (entry, _, __, ms) => storeAnyway(space, entry, ms) })),
  'release-does-nothing': spaces(() => ({ release: async () => {} })),
  'anybody-releases': spaces((space) => ({ release: (key, _, timeoutMs) => space.delete([key], timeoutMs) })),
  'renew-does-nothing': spaces(() => ({ renew: async () => true })),
  'leases-never-end': spaces((space) => ({
    claim: (request, timeoutMs) => space.claim({ ...request, leaseMs: longMs }, timeoutMs),
    renew: (key, owner, _, timeoutMs) => space.renew(key, owner, longMs, timeoutMs),
  })),
  'set-keeps-the-lease': keepingLeases('delete'),
  'delete-keeps-the-lease': keepingLeases('set'),
  'claim-forgets-stale': claiming((reply) =>
    reply.status === 'fresh' ? reply : { ...reply, stale: undefined },
  ),
  'claims-serve-the-invalid': spaces((space, node) => ({
    set: async (entries, timeoutMs) => {
      await space.set(entries, timeoutMs)
      for (const entry of entries) entriesOf(node).set(entry.key, entry)
    },
    claim: async (request, timeoutMs) => {
      const reply = await space.claim(request, timeoutMs)
      const known = entriesOf(node).get(request.key)
      if (reply.status !== 'granted' || known === undefined) return reply
      return { ...reply, stale: { data: known.data, freshMs: 0, keptMs: 1, tags: known.tags } }
    },
  })),
  'clear-does-nothing': spaces(() => ({ clear: async () => {} })),
  'clear-is-of-all': spaces((space, node) => {
    spacesOf(node).add(space)
    return {
      clear: async (timeoutMs) => {
        for (const each of spacesOf(node)) await each.clear(timeoutMs)
      },
    }
  }),
  'snapshots-are-of-the-fill': spaces((space) => ({
    fill: async (entry, owner, _, timeoutMs) => {
      const snapshot = await snapshotNow(space, entry.tags, timeoutMs)
      return space.fill(entry, owner, snapshot, timeoutMs)
    },
  })),
  'tags-reach-only-the-first': storing(({ tags }) => ({ tags: tags.slice(0, 1) })),
  'tags-are-of-all': spaces((space, node) => {
    spacesOf(node).add(space)
    return {
      invalidateTags: async (tags, timeoutMs) => {
        for (const each of spacesOf(node)) await each.invalidateTags(tags, timeoutMs)
      },
    }
  }),
  'soon-after-another-is-ignored': spaces((space, node) => ({
    invalidateTags: (tags, timeoutMs) =>
      once(node, `tags ${tags.join(' ')}`, () => space.invalidateTags(tags, timeoutMs)),
    clear: (timeoutMs) => once(node, 'clear', () => space.clear(timeoutMs)),
  })),
  'fill-stores-nothing': spaces((space) => ({
    fill: async (entry, owner, _, timeoutMs) => {
      await space.release(entry.key, owner, timeoutMs)
      return 'stored'
    },
  })),
  'takes-less-than-it-declares': spaces((space) => ({
    set: (entries, timeoutMs) => {
      const isTooMuch = entries.some(({ data }) => data.byteLength > 6 * 1_048_576)
      if (isTooMuch) return Promise.reject(new MultinodeError('TOO_LARGE', 'too large'))
      return space.set(entries, timeoutMs)
    },
  })),
  'claims-what-failed': spaces((space) => ({
    set: async (entries, timeoutMs) => void space.set(entries, timeoutMs).catch(() => {}),
    delete: async (keys, timeoutMs) => void space.delete(keys, timeoutMs).catch(() => {}),
  })),
  'does-later-what-failed': spaces((space) => {
    const late: NewEntry[] = []
    return {
      set: async (entries, timeoutMs) => {
        try {
          await space.set([...late.splice(0), ...entries], timeoutMs)
        } catch (error) {
          late.push(...entries)
          throw error
        }
      },
    }
  }),
}
