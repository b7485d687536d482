import type { BloomFilterDriver, CounterDriver, FileDriver, NodeIdentity } from '@multinode/core'
import { type Break, shared } from './flawed-space.ts'

const seenOf = shared(() => ({ count: 0 }))

function counters(change: (right: CounterDriver, node: NodeIdentity) => Partial<CounterDriver>): Break {
  return ({ counters: right }, node) =>
    right === undefined ? {} : { counters: { ...right, ...change(right, node) } }
}

function blooms(change: (right: BloomFilterDriver, node: NodeIdentity) => Partial<BloomFilterDriver>): Break {
  return ({ bloomFilters: right }, node) =>
    right === undefined ? {} : { bloomFilters: { ...right, ...change(right, node) } }
}

function files(change: (right: FileDriver, node: NodeIdentity) => Partial<FileDriver>): Break {
  return ({ files: right }, node) =>
    right === undefined ? {} : { files: { ...right, ...change(right, node) } }
}

/** One way to break a part of a driver for each case about it. */
export const flawedParts = {
  'counts-one-for-two': counters((right, node) => ({
    increment: (name, by, ttlMs, timeoutMs) => {
      seenOf(node).count += 1
      return seenOf(node).count % 2 === 0
        ? right.get(name, timeoutMs)
        : right.increment(name, by, ttlMs, timeoutMs)
    },
  })),
  'reset-does-nothing': counters(() => ({ reset: async () => {} })),
  'counter-ttl-is-extended': counters((right) => ({
    increment: async (name, by, ttlMs, timeoutMs) => {
      const before = await right.get(name, timeoutMs)
      await right.reset(name, timeoutMs)
      return right.increment(name, before + by, ttlMs, timeoutMs)
    },
  })),
  'counters-leave-the-integers': counters((right) => ({
    increment: (name, by, ttlMs, timeoutMs) =>
      right.increment(name, by, ttlMs, timeoutMs).catch(() => right.get(name, timeoutMs)),
  })),
  'forgets-every-hundredth': blooms((right) => ({
    add: (filter, items, timeoutMs) =>
      right.add(
        filter,
        items.filter((_, index) => index % 100 !== 99),
        timeoutMs,
      ),
  })),
  'says-yes-too-often': blooms((right) => ({
    mayHave: async (filter, items, timeoutMs) => {
      const may = await right.mayHave(filter, items, timeoutMs)
      return may?.map((each, index) => each || index % 20 === 0)
    },
  })),
  'is-never-missing': blooms((right) => ({
    mayHave: async (filter, items, timeoutMs) =>
      (await right.mayHave(filter, items, timeoutMs)) ?? items.map(() => false),
  })),
  'takes-any-filter': blooms((right) => ({
    add: ({ name }, items, timeoutMs) =>
      right.add({ name, capacity: 2_000, errorRate: 0.01 }, items, timeoutMs),
  })),
  'filters-stay': blooms(() => ({ remove: async () => {} })),
  'files-are-text': files((right) => ({
    put: (name, file, ttlMs, timeoutMs) =>
      right.put(name, { ...file, bytes: Buffer.from(file.bytes.toString()) }, ttlMs, timeoutMs),
  })),
  'etags-are-ignored': files((right) => ({
    get: (name, _, timeoutMs) => right.get(name, [], timeoutMs),
  })),
  'files-stay': files(() => ({ delete: async () => {} })),
  'file-ttl-is-ignored': files((right) => ({
    put: (name, file, _, timeoutMs) => right.put(name, file, undefined, timeoutMs),
  })),
  'long-files-are-cut': files((right) => ({
    put: (name, file, ttlMs, timeoutMs) =>
      right.put(name, { ...file, bytes: file.bytes.subarray(0, 4 * 1_048_576) }, ttlMs, timeoutMs),
  })),
}
