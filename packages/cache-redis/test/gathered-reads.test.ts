import { expect, test } from 'vitest'
import { GatheredReads } from '../src/gathered-reads.ts'

function gather(): { readonly reads: GatheredReads<string>; readonly sent: (readonly [string, number])[] } {
  const sent: (readonly [string, number])[] = []
  const reads = new GatheredReads(async (keys, timeoutMs) => {
    sent.push([keys.join(), timeoutMs])
    return keys.map((key) => `value of ${key}`)
  })
  return { reads, sent }
}

test('what is asked for in one turn leaves together, and each gets its own', async () => {
  const { reads, sent } = gather()
  const asked = ['a', 'b', 'a'].map((key) => reads.want(key, 250))
  expect(sent).toEqual([])
  expect(await Promise.all(asked)).toEqual(['value of a', 'value of b', 'value of a'])
  expect(sent).toEqual([['a,b,a', 250]])
})

test('who asks later is answered by what is read later', async () => {
  const { reads, sent } = gather()
  const first = reads.want('a', 250)
  await new Promise((resolve) => setImmediate(resolve))
  await Promise.all([first, reads.want('a', 250)])
  expect(sent).toEqual([
    ['a', 250],
    ['a', 250],
  ])
})

test('calls with another deadline go by themselves', async () => {
  const { reads, sent } = gather()
  await Promise.all([reads.want('a', 250), reads.want('b', 100), reads.want('c', 100)])
  expect(sent).toEqual([
    ['a', 250],
    ['b,c', 100],
  ])
})

test('a command names 64 keys at most', async () => {
  const { reads, sent } = gather()
  await Promise.all(Array.from({ length: 150 }, (_, index) => reads.want(`${index}`, 250)))
  expect(sent.map(([keys]) => keys.split(',').length)).toEqual([64, 64, 22])
})

test('all hear of an error, and what is asked for after it is read again', async () => {
  let failures = 1
  const reads = new GatheredReads<string>(async (keys) => {
    failures -= 1
    if (failures === 0) throw new Error('away')
    return [...keys]
  })
  const outcomes = await Promise.allSettled([reads.want('a', 250), reads.want('b', 250)])
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(await reads.want('a', 250)).toBe('a')
})
