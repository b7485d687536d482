import { describe, expect, test } from 'vitest'
import { MemoryEntries } from '../../src/cache/memory-entries.ts'
import { MemorySpace } from '../../src/cache/memory-space.ts'
import { ManualClock } from '../../src/testing/index.ts'

const kibibyte = Buffer.alloc(1_024)

async function put(
  space: MemorySpace,
  keys: readonly string[],
  data = kibibyte,
  ttlMs = 1_000,
): Promise<void> {
  await space.set(keys.map((key) => ({ key, data, ttlMs, graceMs: 0, tags: [] })))
}

function numbered(count: number, prefix = 'k'): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`)
}

describe('the memory for entries', () => {
  test('is bounded for all namespaces together: what was not used for longest goes', async () => {
    const entries = new MemoryEntries(new ManualClock(), 40_000)
    const spaces = [new MemorySpace(entries), new MemorySpace(entries)]
    for (const key of numbered(20)) {
      for (const space of spaces) await put(space, [key])
      await spaces[0]?.get('k0')
    }
    expect(entries.size).toBe(31)
    expect(await spaces[0]?.get('k0')).toBeDefined()
    expect(await spaces[1]?.get('k0')).toBeUndefined()
    expect(await spaces[1]?.get('k19')).toBeDefined()
  })

  test('does not keep what has expired for long, though nobody asks for it', async () => {
    const clock = new ManualClock()
    const entries = new MemoryEntries(clock)
    const space = new MemorySpace(entries)
    await put(space, numbered(500, 'lasting'), kibibyte, 1_000_000)
    await put(space, numbered(2_000))
    clock.freeze(1_000)
    await put(space, numbered(3_000, 'later'), kibibyte, 1_000_000)
    expect(entries.size).toBe(3_500)
  })

  test('does not keep what was cleared for long', async () => {
    const entries = new MemoryEntries(new ManualClock())
    const [one, two] = [new MemorySpace(entries), new MemorySpace(entries)]
    await put(one, numbered(2_000))
    await one.clear()
    await put(two, numbered(2_000))
    expect(entries.size).toBe(2_000)
  })

  test('mints versions that grow, also when the wall clock stands still or is set back', () => {
    const clock = new ManualClock(1_000)
    const entries = new MemoryEntries(clock)
    expect([entries.mint(), entries.mint()]).toEqual([1_000_000, 1_000_001])
    clock.jumpWallClock(-500)
    expect(entries.mint()).toBe(1_000_002)
    clock.jumpWallClock(1_500)
    expect(entries.mint()).toBe(2_000_000)
  })
})
