import { beforeAll, describe, expect, test } from 'vitest'
import { type QueueCase, queueCases, type QueueFlaw, QueueWorld } from '../src/index.ts'
import { FaultyQueue } from './faulty-memory-queue.ts'
import { withFlaw } from './flawed-queue.ts'
import { Slots } from './slots.ts'
import { showFlaw } from './show-flaw.ts'

/** Runs a case on a server of its own, with a flaw or without: on a poor one when the case is about what that lacks. */
async function runOn({ run, skip }: QueueCase, flaw?: QueueFlaw): Promise<void> {
  const memory = new FaultyQueue()
  const { faults } = memory
  const probe = new QueueWorld({ plugin: () => memory.plugin(), faults })
  const isPoor = (await skip?.(probe)) !== undefined
  await probe.close()
  const plugin = memory.plugin({ isPoor })
  const world = new QueueWorld({
    plugin: () => (flaw === undefined ? plugin : withFlaw(plugin, flaw)),
    faults,
  })
  try {
    await run(world)
  } finally {
    await world.close().catch(() => 'a flawed driver need not close')
  }
}

describe('each case of the suite of queues', () => {
  const runs = new Map<QueueCase, Promise<PromiseSettledResult<void>[]>>()
  // Side by side, because most of them only wait, and not all at once: some have thousands of jobs, and others look at the clock.
  const slots = new Slots(32)
  beforeAll(() => {
    for (const each of queueCases) {
      const both = [slots.run(() => showFlaw(() => runOn(each, each.control))), slots.run(() => runOn(each))]
      runs.set(each, Promise.allSettled(both))
    }
  })

  for (const queueCase of queueCases) {
    const { control, name } = queueCase
    test(
      `fails on a driver with its flaw and passes without: ${control}: ${name}`,
      { timeout: 120_000 },
      async () => {
        const [flawed, right] = (await runs.get(queueCase)) ?? []
        expect(flawed).toMatchObject({ status: 'rejected' })
        expect(right).toEqual({ status: 'fulfilled', value: undefined })
      },
    )
  }
})

test('what the adapter or the harness cannot do is skipped, and each skipped case says why', async () => {
  const reasonsOn = async (isPoor: boolean): Promise<(string | undefined)[]> => {
    const world = new QueueWorld({ plugin: () => new FaultyQueue().plugin({ isPoor }) })
    const reasons = await Promise.all(queueCases.map(async ({ skip }) => skip?.(world)))
    await world.close()
    return reasons
  }
  const [poor, rich] = [await reasonsOn(true), await reasonsOn(false)]
  const given = (reasons: (string | undefined)[]): string[] =>
    [...new Set(reasons.filter((reason) => reason !== undefined))].toSorted()
  const faults = ['the harness cannot cut connections', 'the harness cannot freeze the server']
  expect(given(poor)).toEqual([
    'the adapter declares no clusterPause',
    'the adapter declares no dedupe',
    'the adapter declares no exactCounts',
    'the adapter declares no lookup',
    'the adapter declares no progress',
    ...faults,
  ])
  expect(given(rich)).toEqual([
    'the adapter has clusterPause',
    'the adapter has dedupe',
    'the adapter has exactCounts',
    'the adapter has lookup',
    'the adapter has progress',
    ...faults,
  ])
  for (const reasons of [poor, rich]) {
    expect(reasons.filter((reason) => reason === undefined).length).toBeGreaterThan(40)
  }
})
