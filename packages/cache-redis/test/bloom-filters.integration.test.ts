import { figure, serversAvailable, startRedis } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { BloomStandIn } from './bloom-stand-in.ts'
import { callMs, node, nodes, range } from './node.ts'

const count = figure({ slice: 20_000, full: 100_000 })
const definition = { name: 'emails', capacity: 1_000, errorRate: 0.01 }

describe.skipIf(!serversAvailable())(
  `a Bloom filter of bits, for ${count} items and one in a hundred`,
  () => {
    it('has all that ten nodes added, and takes few others for them', async ({ annotate }) => {
      await using server = await startRedis()
      await using ten = await nodes(server.url, 10)
      const options = { capacity: count, errorRate: 0.01, timeoutMs: callMs }
      const small = { ...options, capacity: Math.floor(count / 4) }
      const items = range(count).map((index) => `item ${index}`)
      const filters = ten.all.map(({ cache }) => cache.bloomFilter('emails', options))
      const share = count / filters.length
      await Promise.all(
        filters.map((filter, index) => filter.add(items.slice(index * share, (index + 1) * share))),
      )
      const [first] = filters
      expect(ten.all[0]?.driver.bloomFilters?.engine).toBe('bitmap')
      expect((await first?.mayHaveMany(items))?.every(Boolean)).toBe(true)
      const others = items.map((item) => `no ${item}`)
      const wrong = ((await first?.mayHaveMany(others)) ?? []).filter(Boolean).length
      await annotate(`${((100 * wrong) / count).toFixed(2)} % false positives`)
      expect(wrong / count).toBeLessThanOrEqual(0.012)
      const control = ten.all[0]?.cache.bloomFilter('too small', small)
      await control?.add(items)
      const tooMany = ((await control?.mayHaveMany(others)) ?? []).filter(Boolean).length
      expect(tooMany / count, 'the control').toBeGreaterThan(0.012)
    })
  },
)

describe.skipIf(!serversAvailable())('a Bloom filter of the server', () => {
  it('is made and asked by its own commands', async () => {
    await using server = await startRedis()
    await using standIn = await BloomStandIn.start(server.url)
    await using one = await node(standIn.url)
    const filters = one.driver.bloomFilters
    expect(filters?.engine).toBe('native')
    expect(await filters?.mayHave(definition, ['a'], callMs)).toBe(undefined)
    await filters?.add(definition, ['a', 'b'], callMs)
    await filters?.add(definition, ['c'], callMs)
    expect(await filters?.mayHave(definition, ['a', 'b', 'c', 'd'], callMs)).toEqual([
      true,
      true,
      true,
      false,
    ])
    const key = '{shop:cache-bloom:emails}:native'
    expect(standIn.commands).toEqual([
      `bf.mexists ${key} a`,
      `bf.reserve ${key} 0.01 1000`,
      `bf.insert ${key} nocreate items a b`,
      `bf.insert ${key} nocreate items c`,
      `bf.mexists ${key} a b c d`,
    ])
    await expect(filters?.add({ ...definition, capacity: 9 }, ['a'], callMs)).rejects.toMatchObject({
      code: 'REJECTED',
    })
    await filters?.remove('emails', callMs)
    expect(await filters?.mayHave(definition, ['a'], callMs)).toBe(undefined)
  })

  it('that was removed by the server is one that is missing, not one that has nothing', async () => {
    await using server = await startRedis()
    await using standIn = await BloomStandIn.start(server.url)
    await using one = await node(standIn.url)
    const filters = one.driver.bloomFilters
    await filters?.add(definition, ['a'], callMs)
    standIn.forget()
    expect(await filters?.mayHave(definition, ['a'], callMs)).toBe(undefined)
    // Else it would say from then on that what it had is not there.
    await expect(filters?.add(definition, ['b'], callMs)).rejects.toMatchObject({
      code: 'LOST',
      outcome: 'not-sent',
    })
    expect(await filters?.mayHave(definition, ['a', 'b'], callMs)).toBe(undefined)
    await filters?.remove(definition.name, callMs)
    await filters?.add(definition, ['b'], callMs)
    expect(await filters?.mayHave(definition, ['b', 'a'], callMs), 'the control').toEqual([true, false])
  })

  it('is not mixed with one of bits: each stays what it was made as, for nodes of both kinds', async () => {
    await using server = await startRedis()
    await using standIn = await BloomStandIn.start(server.url)
    await using native = await node(standIn.url)
    await using plain = await node(server.url)
    const bits = { ...definition, name: 'of bits' }
    await plain.driver.bloomFilters?.add(bits, ['a'], callMs)
    await native.driver.bloomFilters?.add(bits, ['b'], callMs)
    expect(standIn.commands).toEqual([])
    for (const { driver } of [native, plain]) {
      expect(await driver.bloomFilters?.mayHave(bits, ['a', 'b', 'c'], callMs)).toEqual([true, true, false])
    }
    await native.driver.bloomFilters?.add(definition, ['a'], callMs)
    // It does not have the commands that this filter needs, and says so.
    const refusals = await Promise.all([
      plain.driver.bloomFilters?.add(definition, ['b'], callMs).catch((error: unknown) => error),
      plain.driver.bloomFilters?.mayHave(definition, ['a'], callMs).catch((error: unknown) => error),
    ])
    expect(refusals).toMatchObject([{ code: 'UNSUPPORTED' }, { code: 'UNSUPPORTED' }])
    expect(await native.driver.bloomFilters?.mayHave(definition, ['a', 'b'], callMs)).toEqual([true, false])
  })
})
