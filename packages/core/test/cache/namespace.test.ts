import { describe, expect, test } from 'vitest'
import { createCluster, MultinodeError } from '../../src/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf } from '../support/outcome.ts'
import { CacheOn } from './cache-on.ts'

const invalid = { code: 'INVALID_ARGUMENT' }

describe('a namespace', () => {
  test('is the same for the same options, and refused for others', async () => {
    const { cache } = await new CacheOn().node()
    const options = { ttlMs: 1_000, l1: { maxItems: 5 } }
    expect(cache.namespace('prices', options)).toBe(cache.namespace('prices', { ...options }))
    expect(await failureOf(() => cache.namespace('prices', { ttlMs: 2_000 }))).toMatchObject({
      code: 'ALREADY_EXISTS',
    })
    expect(cache.namespace('prices', { ...options, version: '2' }).name).toBe('prices')
  })

  test.each([
    {},
    { ttlMs: 0 },
    { ttlMs: 1.5 },
    { ttlMs: 1_000, graceMs: -1 },
    { ttlMs: 1_000, jitter: 0.6 },
    { ttlMs: 1_000, jitter: Number.NaN },
    { ttlMs: 1_000, l1: { maxItems: 0 } },
    { ttlMs: 1_000, l1: { size: 1 } },
    { ttlMs: 1_000, codec: 'yaml' },
    { ttlMs: 1_000, version: 'a b' },
    { ttlMs: 1_000, leaseMs: 10 },
    { ttlMs: 1_000, strict: 'yes' },
    { ttlMs: 1_000, tll: 1 },
    { ttlMs: 30 * 86_400_000, graceMs: 1 },
  ])('refuses %j', async (options) => {
    const { cache } = await new CacheOn().node()
    expect(await failureOf(() => callUntyped(cache, 'namespace', ['prices', options]))).toMatchObject(invalid)
  })

  test.each([
    ['get', ['']],
    ['get', [7]],
    ['get', ['\u{d800}']],
    ['get', ['ü'.repeat(5_121)]],
    ['getMany', ['poster']],
    ['getMany', [['']]],
    ['has', [undefined]],
    ['set', ['poster', undefined]],
    ['set', ['', 1]],
    ['set', ['poster', 1, { ttl: 5 }]],
    ['set', ['poster', 1, { tags: 'wall' }]],
    ['set', ['poster', 1, { tags: Array.from({ length: 65 }, (_, index) => `${index}`) }]],
    ['setMany', [{ key: 'poster', value: 1 }]],
    ['setMany', [[7]]],
    [
      'setMany',
      [
        [
          { key: 'poster', value: 1 },
          { key: 'poster', value: 2 },
        ],
      ],
    ],
    ['delete', [7]],
    ['delete', [['']]],
    ['invalidateTags', ['wall']],
    ['getOrSet', ['poster', 12]],
    ['getOrSet', ['', () => 12]],
    ['getOrSet', ['poster', () => 12, { hardTimeoutMs: 0 }]],
    ['getOrSet', ['poster', () => 12, { soft: 1 }]],
  ])('%s refuses %j, and sends nothing', async (method, args) => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    expect(await failureOf(() => callUntyped(prices, method, args))).toMatchObject(invalid)
    expect(node.calls).toEqual([])
  })

  test.each(['a b', '{poster}', 'ü', 'x'.repeat(10_240), '\u0000'])('takes the key %j', async (key) => {
    const prices = await (await new CacheOn().node()).open({ l1: false })
    await prices.set(key, 12)
    expect(await prices.get(key)).toBe(12)
  })

  test('getMany asks once for all that this process does not have, in order', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    await prices.setMany([
      { key: 'a', value: 1 },
      { key: 'b', value: 2, ttlMs: 1_000 },
    ])
    expect(await prices.getMany(['b', 'none', 'a', 'none'])).toEqual([2, undefined, 1, undefined])
    expect(node.calls).toEqual(['set', 'getMany'])
    await node.clock.advance(1_000)
    expect(await prices.getMany(['b', 'a'])).toEqual([undefined, 1])
    expect(await prices.getMany([])).toEqual([])
    expect(node.cache.stats()).toMatchObject({ localHits: 3, misses: 2 })
  })

  test('values have their own ttl, tags and jitter', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open({ ttlMs: 1_000, jitter: 0.5, l1: false })
    const keys = Array.from({ length: 200 }, (_, index) => `key-${index}`)
    await prices.setMany(keys.map((key) => ({ key, value: key, tags: ['wall', 'wall'] })))
    await world.clock.advance(499)
    expect((await prices.getMany(keys)).every((value) => value !== undefined)).toBe(true)
    await world.clock.advance(501)
    const left = (await prices.getMany(keys)).filter((value) => value !== undefined).length
    expect(left).toBeGreaterThan(50)
    expect(left).toBeLessThan(150)
    await prices.invalidateTags(['wall'])
    expect((await prices.getMany(keys)).every((value) => value === undefined)).toBe(true)
  })

  test('nothing to do is done without a round trip', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    expect(await prices.delete([])).toBe('done')
    expect(await prices.setMany([])).toBe('done')
    expect(await prices.invalidateTags([])).toBe('done')
    expect(node.calls).toEqual([])
  })

  test('what the backend refuses is an error, and not deferred', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    node.fail(new MultinodeError('REJECTED', 'not allowed'), ['set', 'delete', 'get'])
    expect(await failureOf(() => prices.set('poster', 12))).toMatchObject({ code: 'REJECTED' })
    expect(await failureOf(() => prices.delete('poster'))).toMatchObject({ code: 'REJECTED' })
    expect(await prices.get('poster')).toBe(undefined)
    expect(node.reported).toMatchObject([{ code: 'REJECTED' }])
  })

  test('what the backend refuses again and again is reported once a second', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open()
    node.fail(new MultinodeError('REJECTED', 'not allowed'), ['get'])
    for (let n = 0; n < 100; n += 1) await prices.get('poster')
    expect(node.reported).toHaveLength(1)
    await world.clock.advance(1_000)
    for (let n = 0; n < 100; n += 1) await prices.get('poster')
    expect(node.reported).toHaveLength(2)
  })

  test('large values stay out of this process', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open({ l1: { maxBytes: 1_000, maxItemBytes: 100 } })
    await prices.set('large', 'x'.repeat(100))
    await prices.set('small', 'x')
    await prices.getMany(['large', 'small'])
    expect(node.cache.stats().localHits).toBe(1)
  })
})

describe('filters and counters', () => {
  test('a filter is the same for the same options, and refused for others', async () => {
    const { cache } = await new CacheOn().node()
    const options = { capacity: 10, errorRate: 0.1 }
    expect(cache.bloomFilter('emails', options)).toBe(cache.bloomFilter('emails', options))
    expect(await failureOf(() => cache.bloomFilter('emails', { ...options, capacity: 11 }))).toMatchObject({
      code: 'ALREADY_EXISTS',
    })
  })

  test('a backend without them says so', async () => {
    const { cache } = await new CacheOn().node()
    expect(await failureOf(() => cache.counter('logins').increment())).toMatchObject({ code: 'UNSUPPORTED' })
  })
})

test('cluster.cache works on memory, is counted, and ends before the signals', async () => {
  const options = { env: {}, name: 'cache-in-a-cluster' }
  await using one = await createCluster(options)
  await using two = await createCluster(options)
  const [mine, theirs] = [one, two].map(({ cache }) => cache.namespace<string>('prices', { ttlMs: 60_000 }))
  await mine?.set('poster', 'old')
  expect(await theirs?.getOrSet('poster', () => 'new')).toBe('old')
  expect(two.stats().cache).toMatchObject({ remoteHits: 1 })
  expect(await one.drain({ deadlineMs: 1_000 })).toEqual({ finished: true, left: {} })
  await one.close()
  expect(await failureOf(() => mine?.get('poster'))).toMatchObject({ code: 'CLOSED' })
})
