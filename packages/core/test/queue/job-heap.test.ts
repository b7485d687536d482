import { expect, test } from 'vitest'
import { JobHeap } from '../../src/queue/job-heap.ts'
import { SeededRandom } from '../support/seeded-random.ts'

interface Entry {
  readonly dueMs: number
  readonly name: number
}

test('an empty heap has no first one', () => {
  const heap = new JobHeap<Entry>()
  expect([heap.first, heap.pop(), heap.size]).toEqual([undefined, undefined, 0])
})

test('a heap gives what a sorted list gives, in its order, whatever is put in, taken out and thrown away', () => {
  const random = new SeededRandom(3)
  const heap = new JobHeap<Entry>()
  const sorted: Entry[] = []
  const differences: number[] = []
  for (let round = 0; round < 8_000; round += 1) {
    if (random.chance(0.55)) {
      // Few times, so that many are due at once: those come in the order in which they were put in.
      const entry = { dueMs: random.whole(0, 50), name: round }
      heap.push(entry)
      const after = sorted.findIndex(({ dueMs }) => dueMs > entry.dueMs)
      sorted.splice(after === -1 ? sorted.length : after, 0, entry)
    } else if (heap.pop() !== sorted.shift()) differences.push(round)
    if (round % 1_000 === 999) {
      const isKept = ({ name }: Entry): boolean => name % 3 !== 0
      heap.keep(isKept)
      sorted.splice(0, sorted.length, ...sorted.filter(isKept))
    }
    if (heap.first !== sorted[0] || heap.size !== sorted.length) differences.push(round)
  }
  expect(differences).toEqual([])
  expect(heap.size).toBeGreaterThan(100)
})
