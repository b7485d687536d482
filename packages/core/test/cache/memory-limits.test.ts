import { describe, expect, test } from 'vitest'
import { MemoryBloomFilters } from '../../src/cache/memory-bloom-filters.ts'
import { MemoryCounters } from '../../src/cache/memory-counters.ts'
import { MemoryFiles } from '../../src/cache/memory-files.ts'
import { ManualClock } from '../../src/testing/index.ts'
import { failureOf } from '../support/outcome.ts'

const exhausted = { code: 'EXHAUSTED', outcome: 'not-sent' }

describe('what memory never drops is refused when there is too much', () => {
  test('of it: counters', async () => {
    const clock = new ManualClock()
    const counters = new MemoryCounters(clock, 1_000)
    for (let index = 0; index < 1_000; index += 1) {
      await counters.increment(`n${index}`, 1, index < 10 ? 1_000 : undefined)
    }
    expect(await failureOf(() => counters.increment('one more', 1, undefined))).toMatchObject(exhausted)
    expect(await counters.increment('n20', 1, undefined)).toBe(2)
    await clock.advance(1_000)
    expect(await counters.increment('one more', 1, undefined)).toBe(1)
  })

  test('of it: files', async () => {
    const clock = new ManualClock()
    const files = new MemoryFiles(clock, 4_000)
    const file = { bytes: Buffer.alloc(512), etag: '"a"', contentType: 'text/plain' }
    await files.put('a', file, 1_000)
    await files.put('b', file, undefined)
    await files.put('c', file, undefined)
    await files.put('c', file, undefined)
    expect(await failureOf(() => files.put('d', file, undefined))).toMatchObject(exhausted)
    await files.put('small', { ...file, bytes: Buffer.alloc(1) }, undefined)
    await clock.advance(1_000)
    await files.put('d', file, undefined)
    await files.delete('d')
    await files.put('e', file, undefined)
    expect(await files.get('c', ['"a"'])).toEqual({ unchanged: '"a"' })
  })

  test('of it: Bloom filters', async () => {
    const filters = new MemoryBloomFilters(3_700)
    const definition = { name: 'a', capacity: 1_000, errorRate: 0.01 }
    await filters.add(definition, ['item'])
    await filters.add({ ...definition, name: 'b' }, ['item'])
    const third = { ...definition, name: 'c' }
    expect(await failureOf(() => filters.add(third, ['item']))).toMatchObject(exhausted)
    expect(await filters.mayHave(third, ['item'])).toBeUndefined()
    await filters.remove('c')
    await filters.remove('a')
    await filters.add(third, ['item'])
    expect(await filters.mayHave(third, ['item', 'other'])).toEqual([true, false])
  })
})
