import type { CacheSpace } from '@multinode/core'
import { memoryPubSub } from '@multinode/core/testing'
import type { CacheFlaw, CacheHarness } from '../src/index.ts'
import { flawedParts } from './flawed-cache-parts.ts'
import { flawedSignals, type SignalFlaw } from './flawed-cache-signals.ts'
import { flawedEntries } from './flawed-entries.ts'
import { flawedMaking } from './flawed-making.ts'
import type { Break } from './flawed-space.ts'

/** One way to break a driver for each case of the suite; the smallest change that the case must notice. */
const breaks: Readonly<Record<Exclude<CacheFlaw, SignalFlaw>, Break>> = {
  ...flawedEntries,
  ...flawedMaking,
  ...flawedParts,
  'versions-are-ignored': (driver) => ({ open: ({ name }) => driver.open({ name, version: '1' }) }),
  'close-twice-rejects': (driver) => {
    let isClosed = false
    return {
      close: async () => {
        if (isClosed) throw new Error('closed already')
        isClosed = true
        await driver.close()
      },
    }
  },
  'takes-all-along': (driver) => {
    const opened = new Set<CacheSpace>()
    return {
      open: (definition) => {
        const space = driver.open(definition)
        opened.add(space)
        return space
      },
      close: async () => {
        for (const space of opened) await space.clear(1_000)
        await driver.close()
      },
    }
  },
  'claims-what-it-lacks': (driver) => ({
    features: { ...driver.features, maxBytes: 1_048_576 },
    counters: { increment: async () => 1, get: async () => 1, reset: async () => {} },
    bloomFilters: {
      engine: 'process',
      add: async () => {},
      mayHave: async (_, items) => items.map(() => true),
      remove: async () => {},
    },
    files: { put: async () => {}, get: async () => undefined, delete: async () => {} },
  }),
  'ping-always-succeeds': () => ({ ping: async () => {} }),
}

/** The same harness, with one flaw. */
export function withFlaw(harness: CacheHarness, flaw: CacheFlaw): CacheHarness {
  if (isSignalFlaw(flaw)) return { ...harness, pubsub: () => flawedSignals[flaw](memoryPubSub) }
  const change = breaks[flaw]
  const create = (): ReturnType<CacheHarness['plugin']> => {
    const plugin = harness.plugin()
    return {
      ...plugin,
      create: async (context) => {
        const driver = await plugin.create(context)
        return { ...driver, ...change(driver, context.node) }
      },
    }
  }
  return { ...harness, plugin: create }
}

function isSignalFlaw(flaw: CacheFlaw): flaw is SignalFlaw {
  return flaw in flawedSignals
}
