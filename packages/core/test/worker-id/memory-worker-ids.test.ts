import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { WorkerIds } from '../../src/index.ts'
import { capabilityContext, ManualClock, memoryWorkerIds, pluginContext } from '../../src/testing/index.ts'

/** A node of a cluster on memory. */
async function node(clusterName: string, clock: ManualClock): Promise<WorkerIds> {
  const driver = await memoryWorkerIds.create(pluginContext({ clusterName, clock }))
  return new WorkerIds(driver, capabilityContext('workerid', 'memory', { clusterName, clock }))
}

describe('worker ids on memory', () => {
  test('are shared by the nodes of one cluster name, and by no others', async () => {
    const clock = new ManualClock()
    const name = randomBytes(8).toString('hex')
    const [one, two, other] = [
      await node(name, clock),
      await node(name, clock),
      await node(`${name}-2`, clock),
    ]
    const ids = [
      await one.acquire({ range: 2, prefer: 0 }),
      await two.acquire({ range: 2, prefer: 0 }),
      await other.acquire({ range: 2, prefer: 0 }),
    ].map(({ id }) => id)
    expect(ids).toEqual([0, 1, 0])
    for (const each of [one, two, other]) {
      await each.close()
      await each.driver.close()
    }
  })

  test('that were released by a cluster object that was closed can be had at once by the next one', async () => {
    const clock = new ManualClock()
    const name = randomBytes(8).toString('hex')
    const before = await node(name, clock)
    const window = (await before.acquire({ range: 1 })).claim()
    window.used(clock.wallMs())
    await before.close()
    await before.driver.close()
    const after = await node(name, clock)
    const next = await after.acquire({ range: 1, waitMs: 0 })
    expect(next.claim().floor()).toBe(clock.wallMs() + 1)
    await after.close()
  })

  test('say what they guarantee, and that they are not shared', async () => {
    const driver = await memoryWorkerIds.create(pluginContext())
    expect(driver).toMatchObject({ features: { scope: 'process' }, address: null })
    await driver.ping(100)
    await driver.close()
  })
})
