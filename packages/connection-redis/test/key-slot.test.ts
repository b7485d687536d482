import { describe, expect, it } from 'vitest'
import { keySlot } from '../src/key-slot.ts'

describe('keySlot', () => {
  // As CLUSTER KEYSLOT answers.
  it.each([
    ['', 0],
    ['a', 15_495],
    ['b', 3_300],
    ['123456789', 12_739],
    ['{shop:lock:a}:lease', 12_057],
    ['ä\u{1F512}', 12_067],
    ['{}a', 10_875],
    ['x{a}{b}', 15_495],
    ['{a', 10_276],
  ])('is that of the server: %j', (key, slot) => {
    expect(keySlot(key)).toBe(slot)
  })
})
