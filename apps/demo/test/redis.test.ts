import {
  claimPort,
  type RedisServer,
  serversAvailable,
  startRedis,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { describe, expect, onTestFinished, test } from 'vitest'
import { heldLine, holdPrints, withPrintHold } from './support/print-hold.ts'
import { dataFolder, launchShop, refusal, startShop } from './support/print-shop.ts'

describe.skipIf(!serversAvailable())('with the lock on Redis', () => {
  test('the start says which server, because of which variables', async () => {
    const redis = await newRedis()
    const url = `redis://127.0.0.1:${redis.port}/2`
    const shop = await startShop({ LOCK_ADAPTER_DEFAULT: 'redis', LOCK_ADAPTER_REDIS_URL: url })
    expect(shop.child.output()).toContain(
      `  lock is on redis at ${url} (from LOCK_ADAPTER_REDIS_URL), because LOCK_ADAPTER_DEFAULT=redis\n`,
    )
    await shop.untilStatus(await shop.order('poster'), 'finished')
  })

  test('a password never appears in what it prints or answers', async () => {
    const password = 'not-for-print'
    const redis = await startRedis({ password })
    onTestFinished(() => redis.stop())
    const shop = await startShop(onRedis(redis))
    await shop.untilStatus(await shop.order('poster'), 'finished')
    expect(shop.child.output()).toContain(':***@')
    expect(await (await shop.call('/cluster')).text()).not.toContain(password)
    expect(shop.child.output()).not.toContain(password)
  })

  test('a server that is down: one clear message and the end, within 10 s', async () => {
    const { port, release } = await claimPort()
    onTestFinished(release)
    const startedAtMs = performance.now()
    const child = await launchShop({ CLUSTER_ADAPTER: 'redis', REDIS_URL: `redis://127.0.0.1:${port}` })
    expect(await child.exited).toEqual({ code: 1, signal: null })
    // 10 s on an idle machine; this one may be busy with other tests.
    expect(performance.now() - startedAtMs).toBeLessThan(13_000 + stolenMs())
    await waitUntil('the message', () => child.output().includes('could not start. UNAVAILABLE'))
    expect(child.output()).toContain(`127.0.0.1:${port}`)
    expect(child.output()).toContain('REDIS_URL')
    expect(child.output()).not.toMatch(/^\s+at /m)
  })

  test('two nodes on one data folder sell exactly what there is, and each order is printed once', async () => {
    const redis = await newRedis()
    const env = { ...onRedis(redis), ...withPrintHold, DATA_DIR: dataFolder() }
    const shops = await Promise.all([
      startShop({ ...env, NODE_ID: 'press-1' }),
      startShop({ ...env, NODE_ID: 'press-2' }),
    ])
    const letGo = holdPrints(env.DATA_DIR)
    const order = { customer: 'Ada', item: 'letterpress', quantity: 1 }
    const calls = Array.from({ length: 25 }, () => shops.map((shop) => shop.post('/orders', order)))
    const statuses = (await Promise.all(calls.flat())).map((reply) => reply.status)
    expect(statuses.filter((status) => status === 202)).toHaveLength(30)
    expect(statuses.filter((status) => status === 409)).toHaveLength(20)

    const [first, second] = shops
    // Nobody is done before both have begun: one of them alone may be that fast.
    for (const { child } of shops) await child.nextLine(heldLine)
    letGo()
    await waitUntil('all to be printed', async () => (await first.list('?status=finished')).length === 30)
    const orders = await second.list('?limit=200')
    expect(orders.map(({ status, attempts }) => ({ status, attempts }))).toEqual(
      orders.map(() => ({ status: 'finished', attempts: 1 })),
    )
    expect(new Set(orders.map((each) => each.node))).toEqual(new Set(['press-1', 'press-2']))
    expect(await second.left('letterpress')).toBe(0)
  })

  test('one idempotency key on two nodes at once is one order', async () => {
    const redis = await newRedis()
    const env = { ...onRedis(redis), DATA_DIR: dataFolder() }
    const shops = await Promise.all([startShop(env), startShop(env)])
    const order = { customer: 'Ada', item: 'poster', quantity: 1 }
    const replies = await Promise.all(
      shops.map((shop) => shop.post('/orders', order, { 'idempotency-key': 'a' })),
    )
    expect(replies.map((reply) => reply.status)).toEqual([202, 202])
    const [one, other] = await Promise.all(replies.map((reply) => reply.text()))
    expect(one).toBe(other)
  })

  test('what a killed node had begun is finished by another one', async () => {
    const redis = await newRedis()
    const env = { ...onRedis(redis), DATA_DIR: dataFolder() }
    const first = await startShop(env)
    const ids = await Promise.all(Array.from({ length: 10 }, () => first.order('flyer')))
    await first.child.kill('SIGKILL')
    const second = await startShop(env)
    // The order it was printing is free once its lease has run out, after 10 s; then somebody has to look.
    for (const id of ids) await second.untilStatus(id, 'finished')
    expect(await second.list('?status=finished')).toHaveLength(10)
  }, 90_000)

  test('without the server it is not ready and takes no order; it recovers with it', async () => {
    const redis = await newRedis()
    const shop = await startShop(onRedis(redis))
    await redis.kill('SIGKILL')
    const order = { customer: 'Ada', item: 'poster', quantity: 1 }
    const refused = await shop.post('/orders', order)
    expect(refused.headers.get('retry-after')).toBe('1')
    expect((await refusal(refused)).status).toBe(503)
    await waitUntil('not to be ready', async () => (await shop.call('/readyz')).status === 503)
    expect((await shop.call('/livez')).status).toBe(200)
    expect(await shop.left('poster')).toBe(2_000)
    await redis.restart()
    await waitUntil('to be ready again', async () => (await shop.call('/readyz')).status === 200)
    await shop.untilStatus(await shop.order('poster'), 'finished')
  })
})

async function newRedis(): Promise<RedisServer> {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  return redis
}

function onRedis(redis: RedisServer): Record<string, string> {
  return { CLUSTER_ADAPTER: 'redis', REDIS_URL: redis.url }
}
