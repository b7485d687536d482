import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import {
  type RedisServer,
  serversAvailable,
  startRedis,
  stolenMs,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { describe, expect, onTestFinished, test } from 'vitest'
import { catalogueReads, changePastTheShops, prices } from './support/catalogue.ts'
import { dataFolder, type PrintShop, refusal, startShop } from './support/print-shop.ts'

/** So that a machine that stands still for a moment is no outage of the cache. */
const patient = { CACHE_PATIENCE_MS: '10000' }
const nodes = ['press-1', 'press-2', 'press-3']

// Also the control of the next test: what each node keeps for itself is made once on each, and changes on one only.
test('without a shared cache each node asks the catalogue for itself, and knows only of its own changes', async () => {
  const shops = await startShops({}, dataFolder())
  expect(await prices([...shops, ...shops], 'poster')).toEqual(Array(6).fill(1_250))
  expect(await catalogueReads(shops)).toBe(3)
  expect(await shops[0].changePrice('poster', 1_300)).toBe('done')
  expect(await prices(shops, 'poster')).toEqual([1_300, 1_250, 1_250])
  const order = await shops[0].find(await shops[0].order('poster', 2))
  expect(order).toMatchObject({ item: 'poster', quantity: 2, priceCents: 1_300 })

  const [shop] = shops
  const before = await catalogueReads([shop])
  for (const call of [shop.call('/items/mug'), shop.call('/items/mug')]) {
    expect(await refusal(await call)).toMatchObject({ status: 404, code: 'ITEM_NOT_FOUND' })
  }
  // That there is no such item is remembered, too.
  expect(await catalogueReads([shop])).toBe(before + 1)
  await expect(shop.changePrice('mug', 1)).rejects.toThrow('404')
  await expect(shop.changePrice('poster', 0)).rejects.toThrow(
    'body/priceCents is 0; it must be a whole number',
  )
  expect(await refusal(await shop.call('/items/'))).toMatchObject({
    status: 400,
    message: 'params/item is ""; it must be the name of an item: see GET /stock',
  })
})

describe.skipIf(!serversAvailable())('with the cache on Redis', () => {
  test('a cold price is asked for once on all nodes, a changed one is on all of them with the next request, and any node serves a sheet', async () => {
    const redis = await newRedis()
    const folder = dataFolder()
    const shops = await startShops({ ...patient, ...onlyTheCacheOn(redis) }, folder)
    for (const { child } of shops) {
      expect(child.output()).toMatch(
        /^ {2}cache is on redis at .* \(from CACHE_REDIS_URL\), because CACHE_DEFAULT_STORE=redis$/m,
      )
      expect(child.output()).toContain('  lock is on memory in this process')
    }
    const everyNodeTenTimes = Array.from({ length: 10 }, () => shops).flat()
    expect(await prices(everyNodeTenTimes, 'poster')).toEqual(Array(30).fill(1_250))
    expect(await catalogueReads(shops)).toBe(1)
    const runs = (await Promise.all(shops.map((shop) => shop.cluster()))).map(
      ({ stats }) => stats.cache.factoryRuns,
    )
    expect(runs.filter((count) => count > 0)).toEqual([1])

    const [first, second, third] = shops
    for (const [index, shop] of shops.entries()) {
      expect(await shop.changePrice('poster', 1_300 + index)).toBe('done')
      expect(await prices(shops, 'poster')).toEqual(Array(3).fill(1_300 + index))
    }
    // While its answer is on the way, the old price is not stored any more.
    const readsBefore = await catalogueReads([second])
    const early = second.price('flyer')
    await waitUntil('the catalogue to be asked', async () => (await catalogueReads([second])) > readsBefore, {
      everyMs: 2,
    })
    await first.changePrice('flyer', 12)
    await early
    expect(await prices(shops, 'flyer')).toEqual([12, 12, 12])

    const { id, etag } = await printOne(first)
    const stored = path.join(folder, 'sheets', `${id}.png`)
    writeFileSync(stored, 'another one')
    for (const shop of [second, third]) expect((await sheetOf(shop, id)).headers.get('etag')).toBe(etag)
    expect((await sheetOf(second, id, etag)).status).toBe(304)
    expect((await sheetOf(second, id, '"other"')).status).toBe(200)
    // The cache loses it: from the folder, and where that has none, drawn again.
    await redis.flush()
    expect(await (await sheetOf(third, id)).text()).toBe('another one')
    // It is put into the cache after the answer: that must not come after the cache has lost it again.
    await waitUntil('the cache to have it', async () => String(await redis.cli('KEYS', '*:file')) !== '')
    rmSync(stored)
    await redis.flush()
    expect((await sheetOf(second, id)).headers.get('etag')).toBe(etag)
    expect((await sheetOf(third, id, etag)).status).toBe(304)
  }, 60_000)

  test('while Redis is frozen or gone prices and sheets are answered, and afterwards they are right', async () => {
    const redis = await newRedis()
    const folder = dataFolder()
    const shops = await startShops(onlyTheCacheOn(redis), folder)
    const [first] = shops
    const sheet = await printOne(first)
    // An answer of Redis that comes late is none, and nobody stores the price: then there would be nothing old to delete, or to find again.
    for (const item of ['poster', 'flyer']) await untilKept(shops, item)
    let isOver = false
    onTestFinished(() => void (isOver = true))
    const load = Promise.allSettled(shops.map((shop) => keepAsking(shop, sheet.id, () => isOver)))

    await redis.pause()
    expect(await first.changePrice('poster', 1_300)).toBe('deferred')
    changePastTheShops(folder, 'flyer', 12)
    expect(await first.price('poster')).toBe(1_300)
    redis.resume()
    await waitUntil('the deferred deletion', async () => (await first.cluster()).stats.cache.waiting === 0)
    // Others may wait for an answer of the catalogue that was on its way already.
    await waitUntil('the new price', async () =>
      (await prices(shops, 'poster')).every((cents) => cents === 1_300),
    )
    // The control: what nobody deleted is there still, and is served as soon as the cache is asked again.
    await waitUntil('the old price', async () => (await prices(shops, 'flyer')).every((cents) => cents === 9))

    await redis.kill('SIGKILL')
    expect(await first.changePrice('poster', 1_400)).toBe('deferred')
    // Others may wait for an answer of the catalogue that was on its way already.
    await waitUntil('the new price', async () =>
      (await prices(shops, 'poster')).every((cents) => cents === 1_400),
    )
    await waitUntil(
      'health to tell',
      async () => (await first.cluster()).health.capabilities['cache']?.status === 'down',
    )
    expect((await first.call('/readyz')).status).toBe(200)
    await redis.restart()
    for (const shop of shops)
      await waitUntil('the cache to be back', async () => !(await shop.cluster()).stats.cache.isOpen)
    isOver = true
    const answers = (await load).flatMap((each) => (each.status === 'fulfilled' ? each.value : [each.reason]))
    expect(new Set(answers)).toEqual(new Set(['price 200', `sheet 200 ${sheet.etag}`]))
    await untilKept(shops, 'poster')
    await waitUntil('the cache to hear', async () => (await first.changePrice('poster', 1_500)) === 'done')
    expect(await prices(shops, 'poster')).toEqual([1_500, 1_500, 1_500])
    expect((await sheetOf(shops[2], sheet.id, sheet.etag)).status).toBe(304)
  }, 90_000)

  test('with signals each node keeps prices of its own, hears when they change, and knows when it cannot hear', async () => {
    const redis = await newRedis()
    await using proxy = await tcpProxy(redis.port)
    const folder = dataFolder()
    const env = { ...patient, CLUSTER_ADAPTER: 'redis', REDIS_URL: redis.url }
    const shops = await startShops(env, folder, {
      PUBSUB_ADAPTER_REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
    })
    const [first, second] = shops
    await waitUntil('a price to come from the process itself', async () => {
      await second.price('poster')
      return (await second.cluster()).stats.cache.localHits > 0
    })
    expect(await first.changePrice('poster', 1_300)).toBe('done')
    await waitUntil('all nodes to have it', async () =>
      (await prices(shops, 'poster')).every((cents) => cents === 1_300),
    )
    // The control: nobody tells.
    changePastTheShops(folder, 'poster', 1_400)
    expect(await prices(shops, 'poster')).toEqual([1_300, 1_300, 1_300])

    proxy.refuse()
    proxy.reset()
    expect(await first.changePrice('poster', 1_500)).toBe('done')
    const changedAt = performance.now()
    await waitUntil('a node that cannot hear to look', async () => (await second.price('poster')) === 1_500)
    // Others take it for dead, and it itself for isolated, only after 10 s.
    expect(performance.now() - changedAt).toBeLessThan(4_000 + stolenMs())
  }, 60_000)
})

async function newRedis(): Promise<RedisServer> {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  return redis
}

function onlyTheCacheOn(redis: RedisServer): Record<string, string> {
  return { CACHE_DEFAULT_STORE: 'redis', CACHE_REDIS_URL: redis.url }
}

async function startShops(
  env: Readonly<Record<string, string>>,
  folder: string,
  ofTheSecond: Readonly<Record<string, string>> = {},
): Promise<[PrintShop, PrintShop, PrintShop]> {
  const [first, second, third] = await Promise.all(
    nodes.map((id, index) =>
      startShop({ ...env, ...(index === 1 ? ofTheSecond : {}), DATA_DIR: folder, NODE_ID: id }),
    ),
  )
  if (!first || !second || !third) throw new Error('three were started')
  return [first, second, third]
}

/** Until no node asks the catalogue for the price any more. */
async function untilKept(shops: readonly PrintShop[], item: string): Promise<void> {
  await waitUntil(`the catalogue to be spared of ${item}`, async () => {
    const before = await catalogueReads(shops)
    await prices(shops, item)
    return (await catalogueReads(shops)) === before
  })
}

/** Places an order, which this node prints. */
async function printOne(shop: PrintShop): Promise<{ id: string; etag: string }> {
  const id = await shop.order('poster')
  await shop.untilStatus(id, 'finished')
  return { id, etag: (await sheetOf(shop, id)).headers.get('etag') ?? '' }
}

function sheetOf(shop: PrintShop, id: string, ifNoneMatch?: string): Promise<Response> {
  return shop.call(`/orders/${id}/sheet`, {
    headers: ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch },
  })
}

/** One price and one sheet after the other. @returns what was answered */
async function keepAsking(shop: PrintShop, id: string, isOver: () => boolean): Promise<string[]> {
  const answers: string[] = []
  while (!isOver()) {
    answers.push(`price ${(await shop.call('/items/poster')).status}`)
    const sheet = await sheetOf(shop, id)
    answers.push(`sheet ${sheet.status} ${sheet.headers.get('etag')}`)
    await sheet.arrayBuffer()
  }
  return answers
}
