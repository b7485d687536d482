import { figure } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { createSnowflake, type Layout, type LayoutName } from '../src/index.ts'

const count = figure({ slice: 200_000, full: 10_000_000 })
const timeout = figure({ slice: 20_000, full: 300_000 })
/** Enough for ten million ids of the smallest layout. */
const maxAheadMs = 86_400_000

const layouts: readonly (LayoutName | Layout)[] = [
  'nocobase53',
  'js53',
  'twitter64',
  { unitMs: 10, timeBits: 38, workerBits: 8, sequenceBits: 7 },
]

describe('ids that are asked for as fast as possible', { timeout }, () => {
  it.for(layouts)('are strictly increasing: %j', (layout) => {
    const ids = createSnowflake({ worker: 3, layout, output: 'bigint', maxAheadMs })
    let last = -1n
    let notGreater = 0
    for (let made = 0; made < count; made += 1) {
      const id = ids.generate()
      if (id <= last) notGreater += 1
      last = id
    }
    expect(notGreater).toBe(0)
  })

  it.for(layouts.slice(0, 2))(
    'are strictly increasing as numbers, one by one and many at once: %j',
    (layout) => {
      const ids = createSnowflake({ worker: 3, layout, maxAheadMs })
      let last = -1
      let notGreater = 0
      const look = (id: number): void => {
        if (id <= last) notGreater += 1
        last = id
      }
      for (let made = 0; made < count; made += 1001) {
        ids.generateMany(1000).forEach(look)
        look(ids.generate())
      }
      expect(notGreater).toBe(0)
    },
  )

  it('the control: a sequence that begins again within its millisecond repeats ids', () => {
    const ids = new Set<number>()
    const made = 200_000
    let sequence = 0
    for (let each = 0; each < made; each += 1) {
      sequence = (sequence + 1) & 127
      ids.add((Date.now() - Date.UTC(2025, 0, 1)) * 4096 + 3 * 128 + sequence)
    }
    expect(ids.size).toBeLessThan(made)
  })

  it('many at once are those that would have come one by one', () => {
    const clock = (): number => Date.UTC(2026, 0, 1)
    const oneByOne = createSnowflake({ worker: 3, clock })
    const atOnce = createSnowflake({ worker: 3, clock })
    for (const each of [1, 127, 1, 128, 300, 1000]) {
      expect(Array.from(atOnce.generateMany(each))).toEqual(Array.from({ length: each }, oneByOne.generate))
    }
    expect(atOnce.generate()).toBe(oneByOne.generate())
  })

  it.for(['number', 'bigint', 'string', 'crockford13', 'base62'] as const)(
    'many at once have the form of one: %s',
    (output) => {
      const clock = (): number => Date.UTC(2026, 0, 1)
      const oneByOne = createSnowflake({ worker: 31, output, clock })
      const atOnce = createSnowflake({ worker: 31, output, clock })
      expect(Array.from<unknown>(atOnce.generateMany(300))).toEqual(
        Array.from<unknown, unknown>({ length: 300 }, () => oneByOne.generate()),
      )
      expect(atOnce.generate()).toBe(oneByOne.generate())
    },
  )
})
