import type { PubSubPlugin } from '@multinode/core'
import { figure, serversAvailable, startRedis, waitUntil, withLateness } from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { callMs, far, near, node, range } from './node.ts'
import { lostSignals, signals } from './signals.ts'

const count = figure({ slice: 300, full: 1_000 })

describe.skipIf(!serversAvailable())(`two nodes that set ${count} keys at once`, async () => {
  const server = await startRedis()
  afterAll(() => server.stop())

  /** The same keys, each on both, and then what both have compared with what is in Redis. @returns how many differ after `patienceMs` */
  async function differing(how: PubSubPlugin, patienceMs: number): Promise<number> {
    await server.flush()
    await using here = await node(server.url, { signals: how })
    await using there = await node(server.url, { signals: how })
    const one = here.cache.namespace<string>('things', near)
    const two = there.cache.namespace<string>('things', near)
    // Looks into Redis alone.
    await using looker = await node(server.url)
    const stored = looker.cache.namespace<string>('things', far)
    const keys = range(count).map((index) => `key ${index}`)
    await Promise.all(keys.flatMap((key) => [one.set(key, 'of one', {}), two.set(key, 'of two', {})]))
    const truth = await stored.getMany(keys)
    const differ = async (): Promise<number> => {
      const [first, second] = await Promise.all([one.getMany(keys), two.getMany(keys)])
      return truth.filter((value, index) => first?.[index] !== value || second?.[index] !== value).length
    }
    const untilMs = performance.now() + patienceMs
    let left = await differ()
    while (left > 0 && performance.now() < untilMs) left = await differ()
    return left
  }

  it('both have what is in Redis', async () => {
    expect(await differing(signals, callMs)).toBe(0)
  })

  it('keep what they set where signals are lost, the control', async () => {
    expect(await differing(lostSignals, 1_000)).toBeGreaterThan(0)
  })

  it('have it within a second of the last set', async () => {
    await using here = await node(server.url, { signals })
    await using there = await node(server.url, { signals })
    const one = here.cache.namespace<string>('things', near)
    const two = there.cache.namespace<string>('things', near)
    await two.set('last', 'old')
    await one.set('last', 'new')
    const { result: tookMs, sumMs: lateMs } = await withLateness(
      () => server.cli('PING'),
      async () => {
        const setAt = performance.now()
        await waitUntil('it', async () => (await two.get('last')) === 'new', { everyMs: 1 })
        return performance.now() - setAt
      },
    )
    expect(tookMs).toBeLessThan(1_000 + lateMs)
  })
})
