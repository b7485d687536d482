import { setTimeout as sleep } from 'node:timers/promises'
import type { CacheNamespace, CachePlugin, PubSubPlugin } from '@multinode/core'
import { figure, seededRandom, serversAvailable, startRedis } from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { far, near, node, range, replacing } from './node.ts'
import { lostSignals, signals } from './signals.ts'

const races = figure({ slice: 500, full: 1_000 })
const atOnce = 50

describe.skipIf(!serversAvailable())(`an invalidation, in ${races} races`, async () => {
  const server = await startRedis()
  afterAll(() => server.stop())
  const random = seededRandom()

  /** Runs it for each index, many at a time. @returns how often the cache kept what is not so any more */
  async function count(race: (key: string) => Promise<boolean>): Promise<number> {
    let stale = 0
    for (let first = 0; first < races; first += atOnce) {
      const some = await Promise.all(range(atOnce).map((index) => race(`key ${first + index}`)))
      stale += some.filter(Boolean).length
    }
    return stale
  }

  /** Of one node, while another one makes the value from a source that changes. */
  async function staleAfterFactories(broken?: (plugin: CachePlugin) => CachePlugin): Promise<number> {
    await server.flush()
    await using here = await node(server.url, { ...(broken && { broken }) })
    await using there = await node(server.url)
    const maker = here.cache.namespace<string>('things', far)
    const writer = there.cache.namespace<string>('things', far)
    const source = new Map<string, string>()
    return await count(async (key) => {
      source.set(key, 'old')
      const made = maker.getOrSet(key, async () => {
        const value = source.get(key) ?? ''
        await sleep(random.between(0, 10))
        return value
      })
      await sleep(random.between(0, 15))
      source.set(key, 'new')
      await writer.delete(key)
      await made
      return (await writer.get(key)) === 'old'
    })
  }

  /** Of one node, while another one reads what is in Redis and keeps it. */
  async function staleAfterReads(how: PubSubPlugin): Promise<number> {
    await server.flush()
    await using here = await node(server.url, { signals: how })
    await using there = await node(server.url, { signals: how })
    const open = (each: typeof here): CacheNamespace<string> => each.cache.namespace<string>('things', near)
    const [reader, writer] = [open(here), open(there)]
    return await count(async (key) => {
      await writer.set(key, 'old')
      const reading = Promise.all([reader.get(key), sleep(random.between(0, 2)).then(() => reader.get(key))])
      await sleep(random.between(0, 2))
      await writer.set(key, 'new')
      await reading
      // Until the signal is there, which says nothing when it is lost.
      for (let look = 0; look < 50 && (await reader.get(key)) !== 'new'; look += 1) await sleep(2)
      return (await reader.get(key)) === 'old'
    })
  }

  it('is never overtaken by a factory that began before it', async () => {
    expect(await staleAfterFactories(), `seed ${random.seed}`).toBe(0)
  })

  it('is overtaken where a value is stored without a look at the lease, the control', async () => {
    const careless = (plugin: CachePlugin): CachePlugin =>
      replacing(plugin, (space) => ({
        async fill(entry, _owner, _snapshot, timeoutMs) {
          await space.set([entry], timeoutMs)
          return 'stored'
        },
      }))
    expect(await staleAfterFactories(careless), `seed ${random.seed}`).toBeGreaterThan(0)
  })

  it('is never overtaken by a read that began before it', async () => {
    expect(await staleAfterReads(signals), `seed ${random.seed}`).toBe(0)
  })

  it('is missed by who keeps values where signals are lost, the control', async () => {
    expect(await staleAfterReads(lostSignals), `seed ${random.seed}`).toBeGreaterThan(0)
  })
})
