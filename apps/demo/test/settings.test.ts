import { type RedisServer, serversAvailable, startRabbitmq, startRedis, waitUntil } from '@multinode/testbed'
import { describe, expect, onTestFinished, test } from 'vitest'
import { pauseOutsideWrites } from './support/pause-outside-writes.ts'
import { dataFolder, type PrintShop, readJson, refusal, startShop } from './support/print-shop.ts'

async function change(shop: PrintShop, maxQuantity: number): Promise<void> {
  const reply = await shop.call('/settings', {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ maxQuantity }),
  })
  expect({ status: reply.status, body: await readJson(reply) }).toEqual({
    status: 200,
    body: { maxQuantity },
  })
}

/** As the node has it in its memory. */
async function maxQuantityOf(shop: PrintShop): Promise<number> {
  return (await readJson<{ maxQuantity: number }>(await shop.call('/settings'))).maxQuantity
}

test('a settings change is in force at once on the node that took it', async () => {
  const shop = await startShop()
  expect(await maxQuantityOf(shop)).toBe(10_000)
  await change(shop, 3)
  const order = { customer: 'Ada', item: 'poster', quantity: 4 }
  expect(await refusal(await shop.post('/orders', order))).toMatchObject({
    status: 422,
    code: 'TOO_MANY',
    message: 'quantity is 4; one order may have 3 at most: see GET /settings.',
  })
  await shop.order('poster', 3)
})

test.skipIf(!serversAvailable())(
  'a settings change reaches all nodes through RabbitMQ, with no other change',
  async () => {
    const [redis, rabbitmq] = await Promise.all([startRedis(), startRabbitmq()])
    onTestFinished(async () => void (await Promise.all([redis.stop(), rabbitmq.stop()])))
    const { port } = new URL(rabbitmq.url)
    const ofSignals = { PUBSUB_ADAPTER: 'rabbitmq', RABBITMQ_HOST: '127.0.0.1', RABBITMQ_PORT: port }
    const env = { CLUSTER_ADAPTER: 'redis', REDIS_URL: redis.url, ...ofSignals, DATA_DIR: dataFolder() }
    const shops = await Promise.all(['press-1', 'press-2'].map((id) => startShop({ ...env, NODE_ID: id })))
    for (const [index, shop] of shops.entries()) {
      await change(shop, index + 5)
      await waitUntil('both nodes to have it', async () =>
        (await Promise.all(shops.map(maxQuantityOf))).every((each) => each === index + 5),
      )
    }
    for (const { child } of shops) {
      expect(child.output()).toContain('pubsub is on rabbitmq at amqp://guest:***@127.0.0.1')
      expect(child.output()).toContain('lock is on redis')
    }
  },
  // The start of a RabbitMQ alone may take two minutes where others start beside it.
  180_000,
)

describe.skipIf(!serversAvailable())('with signals on Redis', () => {
  async function threeShops(redis: RedisServer, folder = dataFolder()): Promise<PrintShop[]> {
    const env = { CLUSTER_ADAPTER: 'redis', REDIS_URL: redis.url, DATA_DIR: folder }
    return Promise.all(['press-1', 'press-2', 'press-3'].map((id) => startShop({ ...env, NODE_ID: id })))
  }

  test('a settings change reaches all nodes', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const shops = await threeShops(redis)
    for (const [index, shop] of shops.entries()) {
      await change(shop, index + 5)
      await waitUntil('all nodes to have it', async () =>
        (await Promise.all(shops.map(maxQuantityOf))).every((each) => each === index + 5),
      )
      await expect(shop.order('poster', index + 6)).rejects.toThrow('422')
    }
  })

  test('a node that was frozen refetches, because it is told of the gap', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const folder = dataFolder()
    const [first, second, frozen] = await threeShops(redis, folder)
    if (!first || !second || !frozen) throw new Error('three were started')
    await pauseOutsideWrites(frozen.child, folder)
    await change(first, 7)
    await waitUntil('the other one to have it', async () => (await maxQuantityOf(second)) === 7)
    // The first signal is in the socket of the frozen node already; the second one is gone from the log before it could be read.
    await change(first, 8)
    await waitUntil('the other one to have it', async () => (await maxQuantityOf(second)) === 8)
    await redis.flush()
    frozen.child.resume()
    const told = 'Signals may have been missed (epoch): the settings are read again.'
    await waitUntil('the frozen node to be told', () => frozen.child.output().includes(told))
    await waitUntil('the frozen node to read them again', async () => (await maxQuantityOf(frozen)) > 7)
    expect(await maxQuantityOf(frozen)).toBe(8)
  }, 60_000)
})
