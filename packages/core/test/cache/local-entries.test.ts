import { describe, expect, test } from 'vitest'
import { LocalEntries, type NewLocalEntry } from '../../src/cache/local-entries.ts'
import { ManualClock } from '../../src/testing/index.ts'

const settings = { maxItems: 3, maxBytes: undefined, maxItemBytes: undefined, ttlMs: undefined }

function make(changes: Partial<typeof settings> | { ttlMs: number } = {}): {
  readonly clock: ManualClock
  readonly local: LocalEntries<number>
  readonly put: (key: string, value: number, changes?: Partial<NewLocalEntry<number>>) => void
} {
  const clock = new ManualClock()
  const local = new LocalEntries<number>({ ...settings, ...changes }, clock)
  const put = (key: string, value: number, more: Partial<NewLocalEntry<number>> = {}): void => {
    const mark = local.begin(key)
    const sinceMs = clock.monotonicMs()
    local.put(mark, { value, tags: [], sinceMs, freshMs: 1_000, keptMs: 5_000, bytes: 10, ...more })
    local.end(mark)
  }
  return { clock, local, put }
}

describe('LocalEntries', () => {
  test('has at most so many, those that were used last', () => {
    const { local, put } = make()
    for (const [index, key] of ['a', 'b', 'c'].entries()) put(key, index)
    local.fresh('a')
    put('d', 3)
    expect(['a', 'b', 'c', 'd'].map((key) => local.fresh(key)?.value)).toEqual([0, undefined, 2, 3])
  })

  test('is fresh for freshMs, or its own ttl if that is shorter, and kept for keptMs', async () => {
    const { clock, local, put } = make({ ttlMs: 500 })
    put('a', 1)
    await clock.advance(499)
    expect(local.fresh('a')?.value).toBe(1)
    await clock.advance(1)
    expect(local.fresh('a')).toBe(undefined)
    await clock.advance(4_499)
    expect(local.kept('a')?.value).toBe(1)
    await clock.advance(1)
    expect(local.kept('a')).toBe(undefined)
  })

  test('lose: nothing is fresh, all is kept; clear: nothing is there', () => {
    const { local, put } = make()
    put('a', 1)
    local.lose()
    expect([local.fresh('a'), local.kept('a')?.value]).toEqual([undefined, 1])
    local.invalidate({ clear: true })
    expect(local.kept('a')).toBe(undefined)
  })

  test('a tag concerns what was put before, not what is put after', () => {
    const { local, put } = make()
    put('a', 1, { tags: ['x'] })
    put('b', 2, { tags: ['y'] })
    local.invalidate({ tags: ['x'] })
    expect([local.fresh('a'), local.kept('a'), local.fresh('b')?.value]).toEqual([undefined, undefined, 2])
    put('a', 3, { tags: ['x'] })
    expect(local.fresh('a')?.value).toBe(3)
  })

  test('more tags than are remembered clear it', () => {
    const { local, put } = make()
    put('a', 1)
    local.invalidate({ tags: Array.from({ length: 10_001 }, (_, index) => `${index}`) })
    expect(local.kept('a')).toBe(undefined)
    put('a', 2)
    expect(local.fresh('a')?.value).toBe(2)
  })

  test.each([
    ['its key', { keys: ['a'] }],
    ['a tag', { tags: ['x'] }],
    ['all', { clear: true }],
  ] as const)('what was asked for before %s was invalidated is not put', (_, what) => {
    const { local } = make()
    const entry = { value: 1, tags: ['x'], sinceMs: 0, freshMs: 1_000, keptMs: 1_000, bytes: 10 }
    const early = local.begin('a')
    local.invalidate(what)
    const late = local.begin('a')
    local.put(early, entry)
    expect(local.fresh('a')).toBe(undefined)
    local.end(early)
    local.put(late, entry)
    expect(local.fresh('a')?.value).toBe(1)
    local.end(late)
  })

  test('a tag between the asking and the deletion of the key does not hide the latter', () => {
    const { local } = make()
    const mark = local.begin('a')
    local.invalidate({ tags: ['other'] })
    local.invalidate({ keys: ['a'] })
    expect(local.isUntouched(mark)).toBe(false)
  })

  test('another key does not matter', () => {
    const { local } = make()
    const mark = local.begin('a')
    local.invalidate({ keys: ['b'] })
    expect(local.isUntouched(mark)).toBe(true)
  })

  test('a limited age counts from when the value was asked for', async () => {
    const { clock, local, put } = make()
    put('a', 1)
    local.limitAge(200)
    await clock.advance(199)
    expect(local.fresh('a')?.value).toBe(1)
    await clock.advance(1)
    expect(local.fresh('a')).toBe(undefined)
    local.limitAge(Infinity)
    expect(local.fresh('a')?.value).toBe(1)
  })

  test('counts bytes where that is wanted', () => {
    const { local, put } = make({ maxBytes: 100, maxItemBytes: 60 } as object)
    put('a', 1, { bytes: 49 })
    put('b', 2, { bytes: 49 })
    put('c', 3, { bytes: 80 })
    expect(['a', 'b', 'c'].map((key) => local.fresh(key)?.value)).toEqual([1, 2, undefined])
    put('d', 4, { bytes: 49 })
    expect(local.fresh('a')).toBe(undefined)
  })

  test('has at most so many, also when bytes are counted', () => {
    const { local, put } = make({ maxBytes: 1_000 } as object)
    for (const [index, key] of ['a', 'b', 'c', 'd'].entries()) put(key, index)
    expect(['a', 'b', 'c', 'd'].map((key) => local.fresh(key)?.value)).toEqual([undefined, 1, 2, 3])
  })

  test('a value that is too large ends the older one of its key', () => {
    const { local, put } = make({ maxItemBytes: 60 } as object)
    put('a', 1)
    put('a', 2, { bytes: 80 })
    expect([local.fresh('a'), local.kept('a')]).toEqual([undefined, undefined])
  })

  test('reserves nothing for what it may have', () => {
    const before = process.memoryUsage()
    const all = Array.from({ length: 20 }, () => make({ maxItems: 10_000_000 }))
    for (const { put } of all) put('a', 1)
    const after = process.memoryUsage()
    const grown = after.heapUsed + after.external - before.heapUsed - before.external
    // Each had 240 MB of its own.
    expect(grown).toBeLessThan(100_000_000)
    expect(all.map(({ local }) => local.fresh('a')?.value)).toEqual(all.map(() => 1))
  })

  test('can be off', () => {
    const local = new LocalEntries<number>(undefined, new ManualClock())
    const mark = local.begin('a')
    local.put(mark, { value: 1, tags: [], sinceMs: 0, freshMs: 1_000, keptMs: 1_000, bytes: 1 })
    expect([local.isOn, local.fresh('a'), local.kept('a')]).toEqual([false, undefined, undefined])
  })
})
