import { describe, expect, test } from 'vitest'
import { type FactoryContext, MultinodeError } from '../../src/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, Later, never, turn, watch } from '../support/outcome.ts'
import { CacheOn } from './cache-on.ts'

const away = (): MultinodeError => new MultinodeError('UNAVAILABLE', 'away', { outcome: 'not-sent' })

describe('getOrSet', () => {
  test('makes a value once, in three round trips, and has it after that without any', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    expect(await prices.getOrSet('poster', () => 12)).toBe(12)
    expect(node.calls).toEqual(['get', 'claim', 'fill'])
    expect(await prices.getOrSet('poster', () => 13)).toBe(12)
    expect(node.calls).toHaveLength(3)
    expect(node.cache.stats()).toMatchObject({ misses: 1, localHits: 1, factoryRuns: 1, staleHits: 0 })
  })

  test('a thousand calls at once share one run', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    const later = new Later<number>()
    const calls = Array.from({ length: 1_000 }, () => prices.getOrSet('poster', () => later.promise))
    await turn()
    later.resolve(12)
    expect(new Set(await Promise.all(calls))).toEqual(new Set([12]))
    expect(node.cache.stats()).toMatchObject({ factoryRuns: 1, misses: 1_000, running: 0 })
  })

  test('another node waits for the one that makes it', async () => {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open(), await two.open()]
    const later = new Later<number>()
    const first = watch(mine.getOrSet('poster', () => later.promise))
    await turn()
    const second = watch(theirs.getOrSet('poster', () => 13))
    await world.clock.advance(200)
    expect([first.state, second.state]).toEqual(['pending', 'pending'])
    later.resolve(12)
    await world.clock.advance(80)
    expect([first.value, second.value]).toEqual([12, 12])
    expect(two.cache.stats()).toMatchObject({ factoryRuns: 0, leaseWaits: 1, remoteHits: 1 })
  })

  test('undefined is passed on and not stored, and others need not wait', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    expect(await prices.getOrSet('poster', () => undefined)).toBe(undefined)
    expect(node.calls).toEqual(['get', 'claim', 'release'])
    expect(await prices.getOrSet('poster', () => 12)).toBe(12)
  })

  test.each([null, '', 0, false])('%j is a value', async (value) => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    expect(await prices.getOrSet('poster', () => value)).toBe(value)
    expect(await prices.getOrSet('poster', () => 'another')).toBe(value)
    expect(await prices.getMany(['poster'])).toEqual([value])
    expect(await prices.has('poster')).toBe(true)
  })

  test('null lasts for negativeTtlMs', async () => {
    const world = new CacheOn()
    const prices = await (await world.node()).open({ graceMs: 60_000 })
    await prices.getOrSet('poster', () => null, { negativeTtlMs: 1_000 })
    await world.clock.advance(999)
    expect(await prices.getOrSet('poster', () => 12, { negativeTtlMs: 1_000 })).toBe(null)
    await world.clock.advance(1)
    expect(await prices.getOrSet('poster', () => Promise.reject(new Error('no'))).catch(() => 'no')).toBe(
      'no',
    )
    expect(await prices.getOrSet('poster', () => 12)).toBe(12)
  })

  test('the factory says how long its value lasts', async () => {
    const world = new CacheOn()
    const prices = await (await world.node()).open()
    const factory = ({ key, setOptions }: FactoryContext<unknown>): string => {
      setOptions({ ttlMs: 1_000 })
      return key
    }
    expect(await prices.getOrSet('poster', factory)).toBe('poster')
    await world.clock.advance(1_000)
    expect(await prices.get('poster')).toBe(undefined)
  })

  test.each([
    [{ tags: ['wall'] }, 'tags'],
    [{ ttl: 5 }, 'ttl'],
    [undefined, 'the options of setOptions'],
  ])('the factory cannot say %o, and is told so', async (options, name) => {
    const prices = await (await new CacheOn().node()).open()
    const error = await failureOf(() =>
      prices.getOrSet('poster', ({ setOptions }) => {
        callUntyped({ setOptions }, 'setOptions', [options])
      }),
    )
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name } })
  })

  test('rejects with what the factory throws, to all who wait; the next call runs it again', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    const error = new Error('no')
    const calls = [1, 2].map(() => failureOf(() => prices.getOrSet('poster', () => Promise.reject(error))))
    expect(await Promise.all(calls)).toEqual([error, error])
    expect(node.cache.stats()).toMatchObject({ factoryRuns: 1, factoryFailures: 1 })
    expect(node.calls).toEqual(['get', 'claim', 'release'])
    expect(await prices.getOrSet('poster', () => 12)).toBe(12)
  })

  test('a value that cannot be stored is an error, and others need not wait', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    const error = await failureOf(() => prices.getOrSet('poster', () => 12n))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(node.count('release')).toBe(1)
  })

  test('what cannot be read is made anew once, and stored over', async () => {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const codec = {
      name: 'other',
      encode: (value: unknown) => Buffer.from(JSON.stringify(value)),
      decode: (bytes: Uint8Array): unknown => JSON.parse(Buffer.from(bytes).toString()),
    }
    await (await one.open({ l1: false })).set('poster', 11)
    const prices = await two.open({ l1: false, codec })
    for (let count = 0; count < 5; count += 1) expect(await prices.getOrSet('poster', () => 12)).toBe(12)
    expect(two.cache.stats()).toMatchObject({ factoryRuns: 1, remoteHits: 4 })
    expect(two.reported).toMatchObject([{ code: 'REJECTED' }])
  })
})

test('what cannot be read and not deleted holds a call up for lockTimeoutMs, without a hot loop', async () => {
  const world = new CacheOn()
  const [one, two] = [await world.node(), await world.node()]
  await (await one.open({ l1: false })).set('poster', 11)
  const codec = { name: 'other', encode: () => Buffer.of(1), decode: () => 12 }
  const prices = await two.open({ l1: false, codec, lockTimeoutMs: 1_000 })
  two.fail(new MultinodeError('REJECTED', 'read only'), ['delete'])
  const call = watch(prices.getOrSet('poster', () => 12))
  await world.clock.advance(1_100)
  expect(call.value).toBe(12)
  expect(two.count('claim')).toBeLessThan(50)
})

describe('getOrSet, with a stale value', () => {
  async function withStale(options = {}): Promise<{
    world: CacheOn
    node: Awaited<ReturnType<CacheOn['node']>>
    prices: Awaited<ReturnType<Awaited<ReturnType<CacheOn['node']>>['open']>>
  }> {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open({ ttlMs: 1_000, graceMs: 60_000, ...options })
    await prices.set('poster', 11)
    await world.clock.advance(1_000)
    return { world, node, prices }
  }

  test('get does not return it, and the factory is shown it', async () => {
    const { prices } = await withStale()
    expect(await prices.get('poster')).toBe(undefined)
    expect(await prices.getOrSet('poster', ({ stale }) => [stale])).toEqual([11])
  })

  test('it is served when the factory fails, counted once, and the failure is reported', async () => {
    const { node, prices } = await withStale()
    expect(await prices.getOrSet('poster', () => Promise.reject(new Error('no')))).toBe(11)
    expect(node.cache.stats()).toMatchObject({ staleHits: 1, misses: 0 })
    expect(node.reported).toMatchObject([{ code: 'REJECTED', message: expect.stringContaining('no') }])
  })

  test('a factory that fails for every call is reported once a second', async () => {
    const { node, prices } = await withStale()
    for (let n = 0; n < 100; n += 1)
      await prices.getOrSet('poster', () => Promise.reject(new Error(`no ${n}`)))
    expect(node.reported).toHaveLength(1)
  })

  test('not after its grace', async () => {
    const { world, prices } = await withStale()
    await world.clock.advance(60_000)
    expect(await failureOf(() => prices.getOrSet('poster', () => Promise.reject(new Error('no'))))).toEqual(
      new Error('no'),
    )
  })

  test('it is served after softTimeoutMs, and the new one is stored all the same', async () => {
    const { world, node, prices } = await withStale()
    const later = new Later<number>()
    const call = watch(prices.getOrSet('poster', () => later.promise, { softTimeoutMs: 50 }))
    await world.clock.advance(49)
    expect(call.state).toBe('pending')
    await world.clock.advance(1)
    expect(call.value).toBe(11)
    later.resolve(12)
    await turn()
    expect(await prices.get('poster')).toBe(12)
    expect(node.cache.stats()).toMatchObject({ staleHits: 1, misses: 0, factoryRuns: 1 })
  })

  test('at once with 0', async () => {
    const { prices } = await withStale()
    expect(await prices.getOrSet('poster', never, { softTimeoutMs: 0 })).toBe(11)
  })

  test('it is served while another node makes the new one', async () => {
    const { world, prices } = await withStale()
    const other = await (await world.node()).open({ ttlMs: 1_000, graceMs: 60_000 })
    void watch(other.getOrSet('poster', never))
    await turn()
    expect(await prices.getOrSet('poster', () => 12)).toBe(11)
  })

  test('hardTimeoutMs serves it and aborts the factory', async () => {
    const { world, prices } = await withStale()
    let signal: AbortSignal | undefined
    const factory = (context: FactoryContext<unknown>): Promise<never> => {
      signal = context.signal
      return never()
    }
    const call = watch(prices.getOrSet('poster', factory, { hardTimeoutMs: 500 }))
    await world.clock.advance(500)
    expect(call.value).toBe(11)
    expect(signal?.aborted).toBe(true)
  })
})

describe('getOrSet, with a factory that takes long', () => {
  test('hardTimeoutMs rejects; what is made later is stored', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open()
    const later = new Later<number>()
    const call = watch(prices.getOrSet('poster', () => later.promise, { hardTimeoutMs: 500 }))
    await world.clock.advance(500)
    expect(call.value).toMatchObject({ code: 'TIMEOUT' })
    await world.clock.advance(1_500)
    later.resolve(12)
    await turn()
    expect(await prices.get('poster')).toBe(12)
  })

  test('hardTimeoutMs rejects with TIMEOUT also when the factory answers the abort with an error of its own', async () => {
    const world = new CacheOn()
    const prices = await (await world.node()).open()
    const factory = ({ signal }: FactoryContext<unknown>): Promise<never> =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('told to end')), { once: true })
      })
    const call = watch(prices.getOrSet('poster', factory, { hardTimeoutMs: 500 }))
    await world.clock.advance(500)
    expect(call.value).toMatchObject({ code: 'TIMEOUT' })
  })

  test('one who waits longer keeps it from being aborted', async () => {
    const world = new CacheOn()
    const prices = await (await world.node()).open()
    const later = new Later<number>()
    const factory = async ({ signal }: FactoryContext<unknown>): Promise<number> => {
      const value = await later.promise
      signal.throwIfAborted()
      return value
    }
    const short = watch(prices.getOrSet('poster', factory, { hardTimeoutMs: 500 }))
    const long = watch(prices.getOrSet('poster', factory))
    await world.clock.advance(600)
    later.resolve(12)
    await turn()
    expect(short.state).toBe('rejected')
    expect(long.value).toBe(12)
  })

  test('its lease is renewed, so that no other node begins', async () => {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const options = { leaseMs: 1_000, lockTimeoutMs: 20_000 }
    const [mine, theirs] = [await one.open(options), await two.open(options)]
    const later = new Later<number>()
    void watch(mine.getOrSet('poster', () => later.promise))
    await turn()
    const second = watch(theirs.getOrSet('poster', () => 13))
    await world.clock.advance(10_000)
    expect(second.state).toBe('pending')
    later.resolve(12)
    await world.clock.advance(100)
    expect(second.value).toBe(12)
    expect(one.count('renew')).toBeGreaterThan(20)
  })

  test('a lease that is not renewed passes to the next node', async () => {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open({ leaseMs: 1_000 }), await two.open({ leaseMs: 1_000 })]
    one.fail(away(), ['renew', 'fill', 'release'])
    void watch(mine.getOrSet('poster', never))
    await turn()
    const second = watch(theirs.getOrSet('poster', () => 13))
    await world.clock.advance(900)
    expect(second.state).toBe('pending')
    await world.clock.advance(200)
    expect(second.value).toBe(13)
  })

  test('after lockTimeoutMs a node makes one for itself, which is not stored', async () => {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const mine = await one.open()
    const theirs = await two.open({ lockTimeoutMs: 500 })
    void watch(mine.getOrSet('poster', never))
    await turn()
    const second = watch(theirs.getOrSet('poster', () => 13))
    await world.clock.advance(600)
    expect(second.value).toBe(13)
    expect(await theirs.get('poster')).toBe(undefined)
  })
})

describe('getOrSet, while the backend is away', () => {
  test('makes the value after one call that failed, and keeps it for two seconds', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open()
    node.fail(away())
    expect(await prices.getOrSet('poster', () => 12)).toBe(12)
    expect(node.calls).toEqual(['get'])
    await world.clock.advance(1_999)
    expect(await prices.getOrSet('poster', () => 13)).toBe(12)
    await world.clock.advance(1)
    expect(await prices.getOrSet('poster', () => 13)).toBe(13)
    expect(node.reported).toEqual([])
  })

  test('serves what this process had, when the factory fails', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open({ ttlMs: 1_000, graceMs: 60_000 })
    await prices.set('poster', 11)
    await world.clock.advance(2_000)
    node.fail(away())
    expect(await prices.getOrSet('poster', () => Promise.reject(new Error('no')))).toBe(11)
  })

  test('a fill that fails does not concern the caller', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    node.fail(away(), ['fill'])
    expect(await prices.getOrSet('poster', () => 12)).toBe(12)
    node.steps = { fill: { before: () => Promise.reject(new MultinodeError('REJECTED', 'full')) } }
    expect(await prices.getOrSet('shirt', () => 13)).toBe(13)
    expect(node.reported).toMatchObject([{ code: 'REJECTED' }])
  })

  test.each([
    ['EXHAUSTED', 'not-sent'],
    ['REJECTED', 'not-sent'],
    ['TIMEOUT', 'unknown'],
  ] as const)('after a fill that failed with %s other nodes need not wait', async (code, outcome) => {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open({ leaseMs: 60_000 }), await two.open({ leaseMs: 60_000 })]
    one.fail(new MultinodeError(code, 'no', { outcome }), ['fill'])
    expect(await mine.getOrSet('poster', () => 12)).toBe(12)
    const call = watch(theirs.getOrSet('poster', () => 13))
    await world.clock.advance(200)
    expect(call.value).toBe(13)
  })

  test('a claim that may have been heard is taken back', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    node.steps = {
      claim: { after: () => Promise.reject(new MultinodeError('TIMEOUT', 'late', { outcome: 'unknown' })) },
    }
    expect(await prices.getOrSet('poster', () => 12)).toBe(12)
    expect(node.count('release')).toBe(1)
  })

  test('with strict it rejects', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open({ strict: true })
    node.fail(away())
    const failed = { code: 'UNAVAILABLE' }
    expect(await failureOf(() => prices.getOrSet('poster', () => 12))).toMatchObject(failed)
    expect(await failureOf(() => prices.get('poster'))).toMatchObject(failed)
    expect(await failureOf(() => prices.getMany(['poster']))).toMatchObject(failed)
    expect(await failureOf(() => prices.set('poster', 12))).toMatchObject(failed)
    expect(await failureOf(() => prices.delete('poster'))).toMatchObject(failed)
  })
})

describe('getOrSet, and the end', () => {
  test('drain waits for what is being made', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open()
    const later = new Later<number>()
    void watch(prices.getOrSet('poster', () => later.promise))
    const late = watch(node.cache.drain(100))
    await world.clock.advance(100)
    expect(late.value).toEqual(['prices: 1 values that are being made'])
    const inTime = watch(node.cache.drain(100))
    later.resolve(12)
    await turn()
    expect(inTime.value).toEqual([])
  })

  test('close rejects those who wait, aborts the factory and gives the lease back', async () => {
    const world = new CacheOn()
    const node = await world.node()
    const prices = await node.open()
    let signal: AbortSignal | undefined
    const call = watch(
      prices.getOrSet('poster', (context) => {
        signal = context.signal
        return never()
      }),
    )
    await turn()
    await node.cache.close()
    expect(call.value).toMatchObject({ code: 'CLOSED' })
    expect(signal?.aborted).toBe(true)
    expect(node.count('release')).toBe(1)
    for (const work of [
      () => prices.get('poster'),
      () => prices.getOrSet('poster', () => 1),
      () => prices.set('poster', 1),
      () => prices.delete('poster'),
      () => prices.getMany(['poster']),
      () => prices.clear(),
      () => prices.invalidateTags(['team']),
      () => node.cache.namespace('other', { ttlMs: 1 }),
    ]) {
      expect(await failureOf(work)).toMatchObject({ code: 'CLOSED' })
    }
  })

  test.each([
    ['in time', (answer: Later<void>) => answer.resolve()],
    ['never', () => {}],
  ])('close while a claim is under way that is answered %s gives the lease back', async (_, act) => {
    const world = new CacheOn()
    const [one, two] = [await world.node(), await world.node()]
    const [mine, theirs] = [await one.open({ leaseMs: 60_000 }), await two.open({ leaseMs: 60_000 })]
    const answer = new Later<void>()
    one.holdAnswer('claim', answer.promise)
    const call = watch(mine.getOrSet('poster', () => 12))
    await turn()
    const closing = watch(one.cache.close())
    await turn()
    expect([call.state, closing.state]).toEqual(['rejected', 'pending'])
    act(answer)
    await world.clock.advance(600)
    expect([closing.state, one.cache.stats().factoryRuns]).toEqual(['resolved', 0])
    const other = watch(theirs.getOrSet('poster', () => 13))
    await world.clock.advance(200)
    expect(other.value).toBe(13)
  })

  test('close while a value is looked for claims nothing', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    const answer = new Later<void>()
    node.holdAnswer('get', answer.promise)
    void watch(prices.getOrSet('poster', () => 12))
    const closing = watch(node.cache.close())
    answer.resolve()
    await node.clock.advance(600)
    expect([closing.state, node.count('claim')]).toEqual(['resolved', 0])
  })

  test('several who wait for the end of all that is made are all told', async () => {
    const node = await new CacheOn().node()
    const prices = await node.open()
    const later = new Later<number>()
    void watch(prices.getOrSet('poster', () => later.promise))
    await turn()
    const waits = [watch(prices.finished(60_000)), watch(prices.finished(60_000))]
    later.resolve(12)
    await turn()
    expect(waits.map(({ value }) => value)).toEqual([0, 0])
  })

  test('leaves no timer behind', async () => {
    const world = new CacheOn({ withSignals: false })
    const node = await world.node()
    const prices = await node.open()
    await prices.getOrSet('poster', () => 12, { hardTimeoutMs: 500, softTimeoutMs: 50 })
    await node.cache.close()
    await world.clock.advance(1_000)
    expect(world.clock.pendingTimers).toBe(0)
  })
})
