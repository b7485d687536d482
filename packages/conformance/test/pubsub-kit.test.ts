import { beforeAll, describe, expect, test } from 'vitest'
import { type PubSubCase, pubsubCases, type PubSubFlaw, PubSubWorld } from '../src/index.ts'
import { FaultyPubSub } from './faulty-memory-pubsub.ts'
import { withFlaw } from './flawed-pubsub.ts'
import { showFlaw } from './show-flaw.ts'

/** Runs a case on a server of its own, with a flaw or without. */
async function runOn({ run }: PubSubCase, flaw?: PubSubFlaw): Promise<void> {
  const memory = new FaultyPubSub()
  const plugin = (lanes = 1) =>
    flaw === undefined ? memory.plugin(lanes) : withFlaw(memory.plugin(lanes), flaw)
  const world = new PubSubWorld({ plugin: () => plugin(), pluginWithLanes: plugin, faults: memory.faults })
  try {
    await run(world)
  } finally {
    await world.close().catch(() => 'a flawed driver need not close')
  }
}

describe('each case of the suite of signals', () => {
  const runs = new Map<PubSubCase, Promise<PromiseSettledResult<void>[]>>()
  // All at once: they only wait.
  beforeAll(() => {
    for (const each of pubsubCases) {
      runs.set(each, Promise.allSettled([showFlaw(() => runOn(each, each.control)), runOn(each)]))
    }
  })

  for (const pubsubCase of pubsubCases) {
    const { control, name } = pubsubCase
    test(
      `fails on a driver with its flaw and passes without: ${control}: ${name}`,
      { timeout: 60_000 },
      async () => {
        const [flawed, right] = (await runs.get(pubsubCase)) ?? []
        expect(flawed).toMatchObject({ status: 'rejected' })
        expect(right).toEqual({ status: 'fulfilled', value: undefined })
      },
    )
  }
})

test('what the harness cannot do is skipped, and each skipped case says why', async () => {
  const plain = new FaultyPubSub().plugin()
  const world = new PubSubWorld({
    plugin: () => ({
      ...plain,
      create: async (context) => ({
        ...(await plain.create(context)),
        features: { scope: 'cluster', order: 'publisher' },
      }),
    }),
  })
  const reasons = await Promise.all(pubsubCases.map(async ({ skip }) => skip?.(world)))
  await world.close()
  const given = new Set(reasons.filter((reason) => reason !== undefined))
  expect([...given].sort()).toEqual([
    'the adapter has one log only',
    'the backend promises the order of each publisher only',
    'the harness cannot cut connections',
    'the harness cannot freeze the server',
    'the harness cannot lose state',
  ])
  expect(reasons.filter((reason) => reason === undefined).length).toBeGreaterThan(25)
})
