import { setTimeout as sleep } from 'node:timers/promises'
import { serversAvailable, startRedis } from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { far, type Node, nodes, range, replacing } from './node.ts'

describe.skipIf(!serversAvailable())('keys that nobody has yet', async () => {
  const server = await startRedis()
  afterAll(() => server.stop())
  let runs = 0

  /** As slow as a source is. */
  async function make(): Promise<string> {
    runs += 1
    await sleep(200)
    return 'value'
  }

  /** How often the factory ran while every node asked so often for each key. */
  async function runsOf(all: readonly Node[], keys: readonly string[], each: number): Promise<number> {
    runs = 0
    const spaces = all.map(({ cache }) => cache.namespace<string>('things', far))
    const values = await Promise.all(
      spaces.flatMap((space) => keys.flatMap((key) => range(each).map(() => space.getOrSet(key, make)))),
    )
    expect(new Set(values)).toEqual(new Set(['value']))
    return runs
  }

  it('are made once for 1,000 callers of one node, for 100 of each of ten, and once each of 50', async () => {
    await using ten = await nodes(server.url, 10)
    expect(await runsOf(ten.all.slice(0, 1), ['alone'], 1_000)).toBe(1)
    expect(await runsOf(ten.all, ['key'], 100)).toBe(1)
    const fifty = range(50).map((index) => `key ${index}`)
    expect(await runsOf(ten.all, fifty, 1)).toBe(50)
  })

  it('are made by each of ten nodes where a lease is granted to everybody, the control', async () => {
    await using ten = await nodes(server.url, 10, {
      broken: (plugin) =>
        replacing(plugin, (space) => ({
          claim: (request, timeoutMs) =>
            space.claim({ ...request, key: `${request.key} ${request.owner}` }, timeoutMs),
        })),
    })
    expect(await runsOf(ten.all, ['control'], 100)).toBe(10)
  })
})
