import {
  figure,
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  waitUntil,
  Wire,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { callMs, entry, far, near, node, range } from './node.ts'
import { signals } from './signals.ts'

const count = figure({ slice: 6_000, full: 1_000_000 })
const batch = 1_000
/** What comes whatever is done: each node sends PING every five seconds, and opens a connection for it where it has none to a master of a Cluster yet. */
const besides: ReadonlySet<string> = new Set(['ping', 'hello', 'client', 'info'])

interface Place extends AsyncDisposable {
  readonly url: string
  readonly nodes: readonly RedisServer[]
}

async function startSingle(): Promise<Place> {
  const server = await startRedis()
  return { url: server.url, nodes: [server], [Symbol.asyncDispose]: () => server.stop() }
}

describe.skipIf(!serversAvailable()).each([
  ['a single server', startSingle],
  ['three masters', startCluster],
])(`${count} entries on %s`, { timeout: 600_000 }, async (_, start: () => Promise<Place>) => {
  const place = await start()
  afterAll(() => place[Symbol.asyncDispose]())
  const keys = range(count).map((index) => `key ${index}`)

  it('are invalid at once by one command, those of a tag and those of a namespace', async () => {
    await using one = await node(place.url)
    await using two = await node(place.url)
    const here = one.driver.open({ name: 'things', version: '' })
    const there = two.driver.open({ name: 'things', version: '' })
    const visible = async (): Promise<number> => {
      let found = 0
      for (let first = 0; first < count; first += batch) {
        const some = (await there.getMany(keys.slice(first, first + batch), callMs)) ?? []
        found += some.filter((each) => each !== undefined).length
      }
      return found
    }
    const half = (index: number): string[] => (index % 2 === 0 ? ['half'] : [])
    for (let first = 0; first < count; first += batch) {
      const some = keys.slice(first, first + batch)
      await here.set(
        some.map((key, index) => entry(key, 'value', { tags: half(index) })),
        callMs,
      )
    }
    expect(await visible(), 'the control').toBe(count)
    using wire = await Wire.tap(...place.nodes)
    // The first one brings the script.
    await here.invalidateTags(['nothing has it'], callMs)
    await Promise.all(range(20).map((index) => here.invalidateTags([`${index}`], callMs)))
    const sentBy = async (work: () => Promise<unknown>): Promise<string[]> =>
      (await wire.namesDuring(work)).filter((name) => !besides.has(name))
    expect(await sentBy(() => here.invalidateTags(['half'], callMs))).toHaveLength(1)
    expect(await visible()).toBe(count / 2)
    const sent = await sentBy(() => here.clear(callMs))
    // One more where the server does not know the script.
    expect(sent.length).toBeLessThanOrEqual(2)
    expect(await visible()).toBe(0)
    const entries = await Promise.all(place.nodes.map(async (each) => Number(await each.cli('DBSIZE'))))
    expect(Math.max(...entries), 'nothing was looked for').toBeGreaterThan(count / place.nodes.length / 2)
  })

  it('that are looked for on one server take many commands, and are left on the others, the control', async () => {
    const [first] = place.nodes
    const bare = new Redis({ port: first?.port ?? 0 })
    // Nothing that it sends by itself comes while the tap is opened.
    await bare.ping()
    using wire = await Wire.tap(...place.nodes)
    const sent = await wire.namesDuring(async () => {
      let cursor = '0'
      do {
        const [next, found] = await bare.scan(cursor, 'MATCH', '*:entry', 'COUNT', 1_000)
        await Promise.all(found.map((key) => bare.unlink(key)))
        cursor = next
      } while (cursor !== '0')
    })
    expect(sent.length).toBeGreaterThan(count / 10)
    const left = await Promise.all(place.nodes.slice(1).map(async (each) => Number(await each.cli('DBSIZE'))))
    expect(left.every((each) => each > count / 10)).toBe(true)
    bare.disconnect()
  })

  it('are invalid at once on the node that clears, and on others with the signal', async () => {
    await using one = await node(place.url, { signals })
    await using two = await node(place.url, { signals })
    const here = one.cache.namespace<string>('near', near)
    const there = two.cache.namespace<string>('near', near)
    await using looker = await node(place.url)
    const stored = looker.cache.namespace<string>('near', far)
    const some = keys.slice(0, batch)
    await here.setMany(some.map((key) => ({ key, value: 'value' })))
    expect((await there.getMany(some))?.every((value) => value === 'value')).toBe(true)
    await here.clear()
    expect((await here.getMany(some))?.some((value) => value !== undefined)).toBe(false)
    expect((await stored.getMany(some)).some((value) => value !== undefined)).toBe(false)
    await waitUntil('the signal', async () => (await there.get('key 0')) === undefined)
    expect((await there.getMany(some))?.some((value) => value !== undefined)).toBe(false)
  })
})
