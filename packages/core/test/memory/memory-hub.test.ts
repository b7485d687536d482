import { describe, expect, test } from 'vitest'
import { MemoryHub } from '../../src/memory/memory-hub.ts'

describe('MemoryHub', () => {
  const part = Symbol('part')

  test('is one per name for as long as somebody has joined it', () => {
    const [one, two, other] = [MemoryHub.join('a'), MemoryHub.join('a'), MemoryHub.join('b')]
    expect(one).toBe(two)
    expect(one).not.toBe(other)
    one.leave()
    expect(MemoryHub.join('a')).toBe(two)
    two.leave()
    two.leave()
    const next = MemoryHub.join('a')
    expect(next).not.toBe(two)
    next.leave()
    other.leave()
  })

  test('makes each part once', () => {
    const hub = MemoryHub.join('parts')
    const first = hub.part(part, () => ({ made: 1 }))
    expect(hub.part(part, () => ({ made: 2 }))).toBe(first)
    expect(hub.part(Symbol('part'), () => ({ made: 3 }))).toEqual({ made: 3 })
    hub.leave()
  })
})
