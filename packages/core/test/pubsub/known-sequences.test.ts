import { describe, expect, test } from 'vitest'
import { KnownSequences } from '../../src/pubsub/known-sequences.ts'

const data = new Uint8Array()

function repeats(known: KnownSequences, source: string, sequences: readonly number[], lane = 0): boolean[] {
  return sequences.map((sequence) => known.isRepeated({ lane, source, sequence, topic: 'a', data }))
}

describe('what was received of a publisher', () => {
  test('is known by its sequence, also after a hole', () => {
    const known = new KnownSequences()
    expect(repeats(known, 'a', [1, 2, 2, 1, 5, 4, 6])).toEqual([false, false, true, true, false, true, false])
  })

  test('is counted for each publisher and lane', () => {
    const known = new KnownSequences()
    expect(repeats(known, 'a', [1])).toEqual([false])
    expect(repeats(known, 'b', [1])).toEqual([false])
    expect(repeats(known, 'a', [1], 1)).toEqual([false])
    expect(repeats(known, 'a', [1], 1)).toEqual([true])
  })

  test('is not known of transient signals, which have no number', () => {
    const known = new KnownSequences()
    expect(repeats(known, 'a', [0, 0, 1, 0])).toEqual([false, false, false, false])
  })

  test('is forgotten of the one that was silent for longest, when there are more than 10,000', () => {
    const known = new KnownSequences()
    repeats(known, 'silent', [1])
    repeats(known, 'busy', [1])
    for (let index = 0; index < 9_998; index += 1) repeats(known, `s${index}`, [1])
    repeats(known, 'busy', [2])
    repeats(known, 'one more', [1])
    expect(repeats(known, 'busy', [2])).toEqual([true])
    expect(repeats(known, 's0', [1])).toEqual([true])
    expect(repeats(known, 'silent', [1])).toEqual([false])
  })
})
