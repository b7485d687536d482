import { beforeAll, describe, expect, test } from 'vitest'
import { type WorkerIdCase, type WorkerIdFlaw, workerIdCases, WorkerIdWorld } from '../src/index.ts'
import { withFlaw } from './flawed-worker-ids.ts'
import { ForgetfulWorkerIds, SilentServer } from './forgetful-worker-ids.ts'
import { showFlaw } from './show-flaw.ts'

/** Runs a case on a server of its own, with a flaw or without. */
async function runOn({ run }: WorkerIdCase, flaw?: WorkerIdFlaw): Promise<void> {
  const forgetful = new ForgetfulWorkerIds()
  const server = new SilentServer(forgetful.plugin())
  const world = new WorkerIdWorld({
    plugin: () => (flaw === undefined ? server.plugin() : withFlaw(server.plugin(), flaw)),
    faults: { ...forgetful.faults, freeze: server.freeze },
  })
  try {
    await run(world)
  } finally {
    await world.close().catch(() => 'a flawed driver need not close')
  }
}

describe('each case of the suite of worker ids', () => {
  const runs = new Map<WorkerIdCase, Promise<PromiseSettledResult<void>[]>>()
  // All at once: they only wait.
  beforeAll(() => {
    for (const each of workerIdCases) {
      runs.set(each, Promise.allSettled([showFlaw(() => runOn(each, each.control)), runOn(each)]))
    }
  })

  for (const workerIdCase of workerIdCases) {
    const { control, name } = workerIdCase
    test(
      `fails on a driver with its flaw and passes without: ${control}: ${name}`,
      { timeout: 60_000 },
      async () => {
        const [flawed, right] = (await runs.get(workerIdCase)) ?? []
        expect(flawed).toMatchObject({ status: 'rejected' })
        expect(right).toEqual({ status: 'fulfilled', value: undefined })
      },
    )
  }
})

test('what the harness cannot do to a server is skipped, and each skipped case says why', async () => {
  const world = new WorkerIdWorld({ plugin: () => new ForgetfulWorkerIds().plugin() })
  const reasons = await Promise.all(workerIdCases.map(async ({ skip }) => skip?.(world)))
  await world.close()
  const given = new Set(reasons.filter((reason) => reason !== undefined))
  expect([...given].sort()).toEqual(['the harness cannot freeze the server', 'the harness cannot lose state'])
  expect(reasons.filter((reason) => reason === undefined).length).toBeGreaterThan(25)
})
