import { figure, serversAvailable, startRedis } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { callMs, longMs, nodes, range } from './node.ts'

const each = figure({ slice: 1_000, full: 10_000 })
const atOnce = 500

/** Many at a time, as much as there is to do. */
async function inTurns(times: number, work: (index: number) => Promise<unknown>): Promise<void> {
  for (let first = 0; first < times; first += atOnce) {
    await Promise.all(range(Math.min(atOnce, times - first)).map((index) => work(first + index)))
  }
}

describe.skipIf(!serversAvailable())(`a counter that ten nodes increment ${each} times each`, async () => {
  const server = await startRedis()
  afterAll(() => server.stop())

  it('has counted all of them, gave each a number of its own, and keeps the time that it had', async () => {
    await using ten = await nodes(server.url, 10)
    const counters = ten.all.map(({ cache }) => cache.counter('logins', { timeoutMs: callMs }))
    await counters[0]?.increment(1, { ttlMs: longMs })
    const [key] = await keysLike('*:counter')
    const before = Number(await server.cli('PTTL', key ?? ''))
    const numbers = new Set<number>()
    await Promise.all(
      counters.map((counter) =>
        inTurns(each, async () => numbers.add(await counter.increment(1, { ttlMs: 2 * longMs }))),
      ),
    )
    expect(await counters[1]?.get()).toBe(10 * each + 1)
    expect(numbers.size).toBe(10 * each)
    expect(Number(await server.cli('PTTL', key ?? ''))).toBeLessThanOrEqual(before)
  })

  it('loses many where it is read and then written, the control', async () => {
    const bare = range(10).map(() => new Redis(server.url))
    await Promise.all(
      bare.map((client) =>
        inTurns(100, async () => client.set('bare', Number(await client.get('bare')) + 1)),
      ),
    )
    expect(Number(await bare[0]?.get('bare'))).toBeLessThan(1_000)
    for (const client of bare) client.disconnect()
  })

  async function keysLike(pattern: string): Promise<string[]> {
    const keys = await server.cli('KEYS', pattern)
    return Array.isArray(keys) ? keys.map(String) : []
  }
})
