import { type RedisServer, serversAvailable, startRabbitmq, startRedis, waitUntil } from '@multinode/testbed'
import { describe, expect, onTestFinished, test } from 'vitest'
import { heldLine, holdPrints, withPrintHold } from './support/print-hold.ts'
import { dataFolder, type PrintShop, startShop } from './support/print-shop.ts'

/** The lease of a dead node's job and of its order, 10 s each, and the time until somebody looks. */
const takeOverMs = 30_000

describe.skipIf(!serversAvailable())('with the queue on Redis', () => {
  test('the orders that one node takes are printed by both, each once', async () => {
    const folder = dataFolder()
    const shops = await startTwo(await newRedis(), folder)
    expect(shops[0].child.output()).toMatch(/^ {2}queue is on redis at .*, because QUEUE_ADAPTER=redis$/m)
    const ids = await orderOnTheFirst(shops, folder)
    const orders = await Promise.all(ids.map((id) => shops[1].untilStatus(id, 'finished')))
    expect(orders.map(({ attempts }) => attempts)).toEqual(ids.map(() => 1))
    expect(new Set(orders.map(({ node }) => node))).toEqual(new Set(['press-1', 'press-2']))
  })

  test('orders outlive the SIGKILL of a Redis with AOF, also those that are taken while it is away', async () => {
    const redis = await newRedis()
    const folder = dataFolder()
    const env = { DATA_DIR: folder, QUEUE_ADAPTER: 'redis', REDIS_URL: redis.url }
    const shop = await startShop({ ...env, ...withPrintHold })
    const letGo = holdPrints(folder)
    const before = await Promise.all(Array.from({ length: 10 }, () => shop.order('flyer')))
    await shop.child.nextLine(heldLine)
    await redis.kill('SIGKILL')
    const meanwhile = await shop.order('poster')
    letGo()
    await redis.restart()
    for (const id of [...before, meanwhile]) await shop.untilStatus(id, 'finished', takeOverMs)
    expect(await shop.list('?status=finished')).toHaveLength(11)
  }, 90_000)

  test('an order whose node is killed while it prints is printed by another one', async () => {
    const redis = await newRedis()
    const folder = dataFolder()
    const env = { DATA_DIR: folder, CLUSTER_ADAPTER: 'redis', REDIS_URL: redis.url }
    const first = await startShop({ ...env, ...withPrintHold, NODE_ID: 'press-1' })
    const letGo = holdPrints(folder)
    const id = await first.order('flyer')
    await first.child.nextLine(heldLine)
    await first.child.kill('SIGKILL')
    letGo()
    const second = await startShop({ ...env, NODE_ID: 'press-2' })
    const order = await second.untilStatus(id, 'finished', takeOverMs)
    expect(order).toMatchObject({ node: 'press-2', attempts: 2 })
    await waitUntil('the sheet', async () => (await second.call(`/orders/${id}/sheet`)).status === 200)
  }, 90_000)
})

// It starts a RabbitMQ twice, and three processes.
const isFull = process.env['MULTINODE_CHAOS'] === 'full'

describe.skipIf(!serversAvailable() || !isFull)('with the queue on RabbitMQ', () => {
  test('the orders that one node takes are printed by both, each once, and outlive the SIGKILL of a RabbitMQ', async () => {
    const [redis, rabbitmq] = await Promise.all([newRedis(), startRabbitmq()])
    onTestFinished(() => rabbitmq.stop())
    const { port } = new URL(rabbitmq.url)
    const ofQueue = { QUEUE_ADAPTER: 'rabbitmq', RABBITMQ_HOST: '127.0.0.1', RABBITMQ_PORT: port }
    const folder = dataFolder()
    const shops = await startTwo(redis, folder, ofQueue)
    expect(shops[0].child.output()).toMatch(
      /^ {2}queue is on rabbitmq at .*, because QUEUE_ADAPTER=rabbitmq$/m,
    )
    const ids = await orderOnTheFirst(shops, folder)
    const orders = await Promise.all(ids.map((id) => shops[1].untilStatus(id, 'finished')))
    expect(orders.map(({ attempts }) => attempts)).toEqual(ids.map(() => 1))
    expect(new Set(orders.map(({ node }) => node))).toEqual(new Set(['press-1', 'press-2']))
    await rabbitmq.kill()
    const meanwhile = await shops[0].order('poster')
    await rabbitmq.restart()
    await shops[1].untilStatus(meanwhile, 'finished', takeOverMs)
  }, 120_000)
})

async function newRedis(): Promise<RedisServer> {
  const redis = await startRedis({ aof: true })
  onTestFinished(() => redis.stop())
  return redis
}

/** Nobody is done before both have begun: of two nodes one alone may be that fast. */
async function orderOnTheFirst(shops: readonly [PrintShop, PrintShop], folder: string): Promise<string[]> {
  const letGo = holdPrints(folder)
  const ids = await Promise.all(Array.from({ length: 30 }, () => shops[0].order('flyer')))
  for (const { child } of shops) await child.nextLine(heldLine)
  letGo()
  return ids
}

async function startTwo(
  redis: RedisServer,
  folder: string,
  ofQueue: Readonly<Record<string, string>> = { QUEUE_ADAPTER: 'redis' },
): Promise<[PrintShop, PrintShop]> {
  const env = {
    ...withPrintHold,
    DATA_DIR: folder,
    LOCK_ADAPTER: 'redis',
    WORKERID_ADAPTER: 'redis',
    REDIS_URL: redis.url,
    ...ofQueue,
  }
  return Promise.all([startShop({ ...env, NODE_ID: 'press-1' }), startShop({ ...env, NODE_ID: 'press-2' })])
}
