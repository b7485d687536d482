import { beforeAll, describe, expect, test } from 'vitest'
import { type CacheCase, cacheCases, type CacheFlaw, type CacheHarness, CacheWorld } from '../src/index.ts'
import { FaultyCache } from './faulty-memory-cache.ts'
import { withFlaw } from './flawed-cache.ts'
import { showFlaw } from './show-flaw.ts'
import { Slots } from './slots.ts'

/** How long a flawed driver gets for what it will not do. */
const shortPatienceMs = 600

/** Runs a case on a server of its own, with a flaw or without: on a poor one when the case is about what that lacks. */
async function runOn({ run, skip }: CacheCase, flaw?: CacheFlaw): Promise<void> {
  const memory = new FaultyCache()
  const { faults } = memory
  const probe = new CacheWorld({ plugin: () => memory.plugin(), faults })
  const isPoor = (await skip?.(probe)) !== undefined
  await probe.close()
  const harness: CacheHarness = { plugin: () => memory.plugin({ isPoor }), faults }
  const world = new CacheWorld(
    flaw === undefined ? harness : withFlaw({ ...harness, patienceMs: shortPatienceMs }, flaw),
  )
  try {
    await run(world)
  } finally {
    await world.close().catch(() => 'a flawed driver need not close')
  }
}

describe('each case of the suite of caches', () => {
  const runs = new Map<CacheCase, Promise<PromiseSettledResult<void>[]>>()
  // Side by side, because most of them only wait, and not all at once: some have thousands of entries, and others look at the clock.
  const slots = new Slots(16)
  beforeAll(() => {
    for (const each of cacheCases) {
      const both = [slots.run(() => showFlaw(() => runOn(each, each.control))), slots.run(() => runOn(each))]
      runs.set(each, Promise.allSettled(both))
    }
  })

  for (const cacheCase of cacheCases) {
    const { control, name } = cacheCase
    test(
      `fails on a driver with its flaw and passes without: ${control}: ${name}`,
      { timeout: 120_000 },
      async () => {
        const [flawed, right] = (await runs.get(cacheCase)) ?? []
        expect(flawed).toMatchObject({ status: 'rejected' })
        expect(right).toEqual({ status: 'fulfilled', value: undefined })
      },
    )
  }
})

test('what the adapter or the harness cannot do is skipped, and each skipped case says why', async () => {
  const reasonsOn = async (isPoor: boolean): Promise<(string | undefined)[]> => {
    const world = new CacheWorld({ plugin: () => new FaultyCache().plugin({ isPoor }) })
    const reasons = await Promise.all(cacheCases.map(async ({ skip }) => skip?.(world)))
    await world.close()
    return reasons
  }
  const [poor, rich] = [await reasonsOn(true), await reasonsOn(false)]
  const given = (reasons: (string | undefined)[]): string[] =>
    [...new Set(reasons.filter((reason) => reason !== undefined))].toSorted()
  const faults = ['the harness cannot freeze the server', 'the harness cannot refuse connections']
  expect(given(poor)).toEqual([
    'the adapter has no bloomFilters',
    'the adapter has no counters',
    'the adapter has no files',
    ...faults,
  ])
  expect(given(rich)).toEqual([
    'the adapter has bloomFilters',
    'the adapter has counters',
    'the adapter has files',
    ...faults,
  ])
  for (const reasons of [poor, rich]) {
    expect(reasons.filter((reason) => reason === undefined).length).toBeGreaterThan(60)
  }
})
