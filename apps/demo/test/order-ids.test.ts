import { serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { createSnowflake } from '@multinode/snowflake-id'
import { describe, expect, onTestFinished, test } from 'vitest'
import { pauseOutsideWrites } from './support/pause-outside-writes.ts'
import { dataFolder, type PrintShop, readJson, startShop } from './support/print-shop.ts'

/** Kept by a node that stands still for a moment, as all do on a busy machine, and not by one that is frozen. */
const workerLeaseMs = 5_000

async function workerIdOf(shop: PrintShop): Promise<number | undefined> {
  const { stats } = await readJson<{ stats: { workerid: { held: number[] } } }>(await shop.call('/cluster'))
  return stats.workerid.held[0]
}

describe.skipIf(!serversAvailable())('the number of an order', () => {
  test('is given once, also when a node is frozen past the lease of its worker id, another takes that id, and the first one goes on', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const folder = dataFolder()
    const env = {
      CLUSTER_ADAPTER: 'redis',
      REDIS_URL: redis.url,
      DATA_DIR: folder,
      WORKER_LEASE_MS: String(workerLeaseMs),
      // All of them want the same one.
      WORKER_ID: '7',
    }
    const frozen = await startShop({ ...env, NODE_ID: 'frozen' })
    const other = await startShop({ ...env, NODE_ID: 'other' })
    expect(await workerIdOf(frozen)).toBe(7)
    expect(await workerIdOf(other)).not.toBe(7)
    await placeSome(frozen)
    await pauseOutsideWrites(frozen.child, folder)
    // What it is asked now it answers when it goes on, with the window of timestamps that it still believes to hold.
    const late = Promise.all(Array.from({ length: 20 }, () => tryToOrder(frozen)))

    const successor = await startSuccessor()
    await placeSome(successor)
    frozen.child.resume()
    await Promise.all([late, placeSome(successor), placeSome(other)])
    await waitUntil('the frozen node to have another worker id', async () => {
      const id = await workerIdOf(frozen)
      return id !== undefined && id !== 7
    })
    await placeSome(frozen)

    const ids = (await other.list('?limit=200')).map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    const reader = createSnowflake({ worker: 0, layout: 'js53', output: 'string' })
    const workers = ids.map((id) => reader.decode(id).workerId)
    // Both made numbers with it, so the test means something.
    expect(workers.filter((id) => id === 7).length).toBeGreaterThan(20)
    expect(new Set(workers).size).toBeGreaterThanOrEqual(3)

    /** Nodes start until one has the id of the frozen one, which is so after its lease and its quarantine. */
    async function startSuccessor(): Promise<PrintShop> {
      let count = 0
      return waitUntil(
        'another node to have the worker id',
        async () => {
          count += 1
          const shop = await startShop({ ...env, NODE_ID: `successor-${count}` })
          if ((await workerIdOf(shop)) === 7) return shop
          await shop.child.stop()
          return undefined
        },
        { deadlineMs: 90_000 },
      )
    }
  }, 180_000)

  test('is to be had again when no other worker id was to be had in time for an order, also when no other order comes', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const folder = dataFolder()
    const onRedis = { CLUSTER_ADAPTER: 'redis', REDIS_URL: redis.url, DATA_DIR: folder }
    const env = { ...onRedis, WORKER_LEASE_MS: String(workerLeaseMs), WORKER_ID: '7' }
    const frozen = await startShop({ ...env, NODE_ID: 'frozen' })
    await pauseOutsideWrites(frozen.child, folder)
    // On a server that knows of nobody the id is free at once.
    await redis.flush()
    await startShop({ ...env, NODE_ID: 'other' })
    frozen.child.resume()
    await waitUntil('it to be told', () => frozen.child.output().includes('another node may have it'))
    await redis.kill()
    await expect(frozen.order('flyer')).rejects.toThrow('503')
    await redis.restart()
    // Until then a balancer sends it none.
    await waitUntil('it to be ready', async () => (await frozen.call('/readyz')).status === 200)
    await frozen.order('flyer')
  }, 60_000)
})

async function placeSome(shop: PrintShop): Promise<void> {
  for (let count = 0; count < 15; count += 1) await shop.order('flyer')
}

/** Whether it is taken or refused: a refusal is an honest answer here. */
async function tryToOrder(shop: PrintShop): Promise<void> {
  const reply = await fetch(`${shop.url}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ customer: 'Ada', item: 'flyer', quantity: 1 }),
    signal: AbortSignal.timeout(60_000),
  })
  expect(reply.status).toBeOneOf([202, 503])
}
