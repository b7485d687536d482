import { setTimeout as sleep } from 'node:timers/promises'
import type { PubSubPlugin } from '@multinode/core'
import { figure, serversAvailable, startRedis, stolenMs, withOwnLateness } from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { near, node, range } from './node.ts'
import { busOf, lostSignals, signals } from './signals.ts'

/** How long the reader keeps values in the test where only the writer is cut. */
const localMs = 1_500
const cutMs = figure({ slice: 3_500, full: 10_000 })
const keys = range(figure({ slice: 200, full: 1_000 })).map((index) => `key ${index}`)

type Cut = 'the reader' | 'the writer' | 'both' | 'nobody'

interface Seen {
  /** For how long something was read after it had been replaced, at the worst. */
  readonly oldestMs: number
  /** How many keys were still read as they had been, a second after all was well again. */
  readonly staleAfter: number
}

describe.skipIf(!serversAvailable()).concurrent(`signals that are cut for ${cutMs} ms`, async () => {
  const server = await startRedis()
  afterAll(() => server.stop())

  async function play(cut: Cut, name: string, how: PubSubPlugin): Promise<Seen> {
    await using one = await node(server.url, { name, signals: how })
    await using two = await node(server.url, { name, signals: how })
    // Of a writer that is cut nobody is told for so long as it may only be slow: then what is kept counts for its own time.
    const options = cut === 'the writer' ? { ...near, l1: { ttlMs: localMs } } : near
    const reader = one.cache.namespace<number>('things', options)
    const writer = two.cache.namespace<number>('things', options)
    // Of each key, when each of its values was replaced.
    const replacedAt = new Map<string, number[]>(keys.map((key) => [key, []]))
    await writer.setMany(keys.map((key) => ({ key, value: 0 })))
    await reader.getMany(keys)
    const bus = busOf(one)
    if (cut === 'the reader' || cut === 'both') bus.cut(one.nodeId)
    if (cut === 'the writer' || cut === 'both') bus.cut(two.nodeId)
    let oldestMs = 0
    const endsAt = performance.now() + cutMs
    for (let round = 1; performance.now() < endsAt; round += 1) {
      // All of them early, so that what is kept has time to be old; then only some again.
      const some = round === 1 ? keys : keys.slice(0, 20)
      await writer.setMany(some.map((key) => ({ key, value: (replacedAt.get(key)?.length ?? 0) + 1 })))
      for (const key of some) replacedAt.get(key)?.push(performance.now())
      const readAt = performance.now()
      const values = await reader.getMany(keys)
      for (const [index, key] of keys.entries()) {
        const since = replacedAt.get(key)?.[values[index] ?? 0]
        if (since !== undefined) oldestMs = Math.max(oldestMs, readAt - since)
      }
      await sleep(20)
    }
    bus.heal()
    // What takes several steps is late by as much as all of them together.
    const { sumMs: lateMs } = await withOwnLateness(() => sleep(1_000))
    await sleep(lateMs + stolenMs())
    const values = await reader.getMany(keys)
    const isStale = (key: string, index: number): boolean => replacedAt.get(key)?.length !== values[index]
    return { oldestMs, staleAfter: keys.filter(isStale).length }
  }

  it.for<[Cut, number]>([
    ['the reader', 2_000],
    ['the writer', localMs],
    ['both', 2_000],
  ])(
    'for %s leave nothing older than %i ms, and nothing a second after',
    async ([cut, mostMs], { annotate }) => {
      const { oldestMs, staleAfter } = await play(cut, cut.replace(' ', '-'), signals)
      await annotate(`nothing older than ${Math.round(oldestMs)} ms, ${staleAfter} stale a second after`)
      expect(oldestMs).toBeLessThan(mostMs + 250 + stolenMs())
      expect(staleAfter).toBe(0)
    },
  )

  it('leave what was there where they are lost and nobody is told, the control', async () => {
    const { oldestMs, staleAfter } = await play('nobody', 'control', lostSignals)
    expect(oldestMs).toBeGreaterThan(2_500)
    expect(staleAfter).toBeGreaterThan(0)
  })
})
