import { describe, expect, test } from 'vitest'
import { KnownSequences } from '../../src/pubsub/known-sequences.ts'

const data = new Uint8Array()

function repeats(known: KnownSequences, source: string, sequences: readonly number[]): boolean[] {
  return sequences.map((sequence) => known.isRepeated({ lane: 0, source, sequence, topic: 'a', data }))
}

describe('what was received of a publisher', () => {
  test('is known by its sequence, also after a hole', () => {
    const known = new KnownSequences()
    expect(repeats(known, 'a', [1, 2, 2, 1, 5, 4, 6])).toEqual([false, false, true, true, false, true, false])
  })

  test('is counted for each publisher', () => {
    const known = new KnownSequences()
    expect(repeats(known, 'a', [1])).toEqual([false])
    expect(repeats(known, 'b', [1])).toEqual([false])
    expect(repeats(known, 'a', [1])).toEqual([true])
  })

  test('is not known of transient signals, which have no number', () => {
    const known = new KnownSequences()
    expect(repeats(known, 'a', [0, 0, 1, 0])).toEqual([false, false, false, false])
  })

  test('is forgotten of those that were silent while more than 5,000 others were heard of, twice', () => {
    const known = new KnownSequences()
    repeats(known, 'silent', [1])
    for (let index = 0; index < 9_998; index += 1) {
      repeats(known, `s${index}`, [1])
      repeats(known, 'busy', [index + 1])
    }
    expect(repeats(known, 's5000', [1])).toEqual([true])
    expect(repeats(known, 'busy', [9_998])).toEqual([true])
    expect(repeats(known, 'silent', [1])).toEqual([false])
  })
})
