import type { StoredEntry } from '@multinode/core'
import { expect, test } from 'vitest'
import { GatheredReads } from '../src/gathered-reads.ts'

function storedEntry(text: string): StoredEntry {
  return { data: Buffer.from(text), freshMs: 1_000, keptMs: 1_000, tags: [] }
}

interface Gathering {
  /** The value of each, asked for at once. */
  readonly ask: (keys: readonly string[], timeoutMs?: number) => Promise<(string | undefined)[]>
  /** The keys of each command, and its deadline. */
  readonly sent: (readonly [string, number])[]
}

function gather(valueOf = (key: string): string => `value of ${key}`): Gathering {
  const sent: (readonly [string, number])[] = []
  const reads = new GatheredReads(async (keys, timeoutMs) => {
    sent.push([keys.join(), timeoutMs])
    return keys.map((key) => storedEntry(valueOf(key)))
  })
  const ask = async (keys: readonly string[], timeoutMs = 250): Promise<(string | undefined)[]> => {
    const entries = await Promise.all(keys.map((key) => reads.want(key, timeoutMs)))
    return entries.map((entry) => entry?.data.toString())
  }
  return { ask, sent }
}

const range = (count: number): string[] => Array.from({ length: count }, (_, index) => `${index}`)
const countsOf = ({ sent }: Gathering): number[] => sent.map(([keys]) => keys.split(',').length)

test('what is asked for in one turn leaves together, and each gets its own', async () => {
  const { ask, sent } = gather()
  const asked = ask(['a', 'b', 'a'])
  expect(sent).toEqual([])
  expect(await asked).toEqual(['value of a', 'value of b', 'value of a'])
  expect(sent).toEqual([['a,b,a', 250]])
})

test('who asks later is answered by what is read later', async () => {
  const { ask, sent } = gather()
  const first = ask(['a'])
  await new Promise((resolve) => setImmediate(resolve))
  await Promise.all([first, ask(['a'])])
  expect(sent).toEqual([
    ['a', 250],
    ['a', 250],
  ])
})

test('calls with another deadline go by themselves', async () => {
  const { ask, sent } = gather()
  await Promise.all([ask(['a'], 250), ask(['b', 'c'], 100)])
  expect(sent).toEqual([
    ['a', 250],
    ['b,c', 100],
  ])
})

test('a command names 64 keys at most', async () => {
  const gathering = gather()
  await gathering.ask(range(150))
  expect(countsOf(gathering)).toEqual([64, 64, 22])
})

test('of large values a command names few, and more again when they are small', async () => {
  let size = 100_000
  const gathering = gather(() => 'x'.repeat(size))
  await gathering.ask(['a'])
  await gathering.ask(range(5))
  expect(countsOf(gathering)).toEqual([1, 2, 2, 1])
  size = 10
  for (const key of range(100)) await gathering.ask([key])
  gathering.sent.length = 0
  await gathering.ask(range(64))
  expect(countsOf(gathering)).toEqual([64])
})

test('all hear of an error, and what is asked for after it is read again', async () => {
  let failures = 1
  const reads = new GatheredReads(async (keys) => {
    failures -= 1
    if (failures === 0) throw new Error('away')
    return keys.map(storedEntry)
  })
  const outcomes = await Promise.allSettled([reads.want('a', 250), reads.want('b', 250)])
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect((await reads.want('a', 250))?.data.toString()).toBe('a')
})
