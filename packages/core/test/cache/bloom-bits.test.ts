import { describe, expect, test } from 'vitest'
import { bloomOffsets, bloomShape } from '../../src/cache/bloom-bits.ts'

describe('the size of a Bloom filter', () => {
  test.each([
    [100_000, 0.01, 958_512, 7],
    [1_000, 0.001, 14_384, 10],
    [1, 0.5, 8, 6],
    [10, 0.5, 16, 1],
  ])(
    'for %d items with an error rate of %d is %d bits, %d of them for each',
    (capacity, rate, bits, hashes) => {
      expect(bloomShape(capacity, rate)).toEqual({ bits, hashes })
    },
  )
})

describe('the bits of an item', () => {
  test('are the same in every version: others have stored them', () => {
    expect(bloomOffsets('user@example.com', bloomShape(100_000, 0.01))).toMatchInlineSnapshot(`
      [
        539307,
        554618,
        569930,
        585244,
        600561,
        615882,
        631208,
      ]
    `)
    expect(bloomOffsets('ä €🤖', { bits: 2 ** 32, hashes: 3 })).toMatchInlineSnapshot(`
      [
        1872354066,
        2216382783,
        2560411501,
      ]
    `)
  })

  test('are within the filter, also in the smallest and the largest', () => {
    for (const bits of [8, 16, 2 ** 32]) {
      const offsets = Array.from({ length: 500 }, (_, index) =>
        bloomOffsets(`item ${index}`, { bits, hashes: 20 }),
      ).flat()
      expect(offsets.filter((offset) => !Number.isInteger(offset) || offset < 0 || offset >= bits)).toEqual(
        [],
      )
      expect(Math.max(...offsets)).toBeGreaterThan(bits * 0.8)
    }
  })
})
