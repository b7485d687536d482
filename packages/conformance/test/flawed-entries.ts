import { finding, keying, shared, spaces, storing } from './flawed-space.ts'

const longMs = 60_000
const storedTtlsOf = shared(() => new Map<string, number>())
const lastEntriesOf = shared(() => ({ last: '' }))

/** One way to break what is stored and found for each case about that. */
export const flawedEntries = {
  'data-is-latin': storing(({ data }) => ({ data: Buffer.from(data.toString('latin1')) })),
  'data-is-text': storing(({ data }) => ({ data: Buffer.from(data.toString()) })),
  'long-data-is-cut': storing(({ data }) => ({ data: data.subarray(0, 4 * 1_048_576) })),
  'finds-what-is-not-there': spaces((space, node) => ({
    set: async (entries, timeoutMs) => {
      await space.set(entries, timeoutMs)
      for (const { key } of entries) lastEntriesOf(node).last = key
    },
    get: async (key, timeoutMs) =>
      (await space.get(key, timeoutMs)) ?? space.get(lastEntriesOf(node).last, timeoutMs),
  })),
  'keys-are-folded': keying((key) => key.toLowerCase().trim()),
  'long-keys-are-cut': keying((key) => key.slice(0, 1_000)),
  'one-lease-for-all': spaces((space) => ({
    claim: async (request, timeoutMs) => {
      const reply = await space.claim({ ...request, key: 'one' }, timeoutMs)
      return reply.status === 'granted' ? space.claim(request, timeoutMs) : reply
    },
  })),
  'replies-are-out-of-order': spaces((space) => ({
    getMany: async (keys, timeoutMs) => (await space.getMany(keys, timeoutMs)).toReversed(),
  })),
  'batch-loses-its-last': spaces((space) => ({
    set: (entries, timeoutMs) => space.set(entries.length > 1 ? entries.slice(0, -1) : entries, timeoutMs),
  })),
  'deletes-only-the-first': spaces((space) => ({
    delete: (keys, timeoutMs) => space.delete(keys.slice(0, 1), timeoutMs),
  })),
  'ttl-is-too-short': storing(({ ttlMs }) => ({ ttlMs: ttlMs / 10 })),
  'ttl-is-ignored': storing(() => ({ ttlMs: longMs })),
  'first-ttl-is-for-all': storing(({ ttlMs }, _, [first]) => ({ ttlMs: first?.ttlMs ?? ttlMs })),
  'first-ttl-stays': spaces((space, node) => ({
    set: (entries, timeoutMs) => {
      const ttls = storedTtlsOf(node)
      for (const { key, ttlMs } of entries) if (!ttls.has(key)) ttls.set(key, ttlMs)
      return space.set(
        entries.map((entry) => ({ ...entry, ttlMs: ttls.get(entry.key) ?? entry.ttlMs })),
        timeoutMs,
      )
    },
  })),
  'kept-is-as-fresh': finding((entry) => ({ ...entry, keptMs: entry.freshMs })),
  'stale-is-fresh': finding((entry) => ({ ...entry, freshMs: Math.max(entry.freshMs, 1) })),
  'grace-never-ends': storing(() => ({ graceMs: longMs })),
  'grace-is-ignored': storing(() => ({ graceMs: 0 })),
  'ttls-are-rounded': storing(() => ({ ttlMs: 100_000 })),
  'fresh-is-told-too-long': finding((entry) => ({ ...entry, freshMs: longMs })),
}
