/** The harness of `pnpm bench`: what its figures mean. */
import { describe, expect, test } from 'vitest'
import { chooseBench, readArguments } from '../bench/arguments.ts'
import { type BenchCase, runBench, runCase } from '../bench/harness.ts'
import { formatTable } from '../bench/report.ts'
import { figureOf, medianOf, quantileOf } from '../bench/statistics.ts'

describe('figures', () => {
  test('the median is the middle by size, or the mean of the middle two', () => {
    expect(medianOf([10, 9, 100])).toBe(10)
    expect(medianOf([4, 1, 3, 2])).toBe(2.5)
    expect(medianOf([7])).toBe(7)
    expect(() => medianOf([])).toThrow('nothing')
  })

  test('a quantile is the sample that such a share is at most', () => {
    const samples = Array.from({ length: 100 }, (_, index) => 100 - index)
    expect([0.5, 0.99, 1].map((share) => quantileOf(samples, share))).toEqual([50, 99, 100])
    expect(quantileOf([7], 0.99)).toBe(7)
    expect(() => quantileOf([], 0.5)).toThrow('nothing')
  })

  test('a figure leaves its samples as they were', () => {
    const samples = [3, 1, 2]
    expect(figureOf(samples)).toEqual({ median: 2, min: 1, max: 3 })
    expect(samples).toEqual([3, 1, 2])
  })
})

describe('rounds', () => {
  test('ours, raw and peers take turns, in alternating order', async () => {
    const order: string[] = []
    const side = (name: string) => () => order.push(name)
    const each = { ...madeUp(), ours: side('ours'), raw: side('raw'), peers: { peer: side('peer') } }
    await runCase(each, { warmUp: 1, counted: 2 })
    const forth = ['ours', 'raw', 'peer']
    expect(order).toEqual([...forth, ...forth.toReversed(), ...forth])
  })

  test('rounds to warm up are not counted', async () => {
    const samples = [1000, 1000, 3, 1, 2]
    const { ours } = await runCase(
      { ...madeUp(), ours: () => samples.shift() ?? 0 },
      { warmUp: 2, counted: 3 },
    )
    expect(ours).toEqual({ median: 2, min: 1, max: 3 })
  })

  test('a case may have its own number', async () => {
    const samples: number[] = []
    const each = { ...madeUp(), rounds: { warmUp: 0, counted: 1 }, ours: () => samples.push(1) }
    await runBench({ about: '', prepare: () => [each, { ...madeUp() }] }, { warmUp: 0, counted: 3 })
    expect(samples).toHaveLength(1)
  })

  test('each side has its own samples', async () => {
    const each = { ...madeUp(), raw: async () => 2, peers: { peer: () => 3 } }
    const result = await runCase(each, { warmUp: 0, counted: 1 })
    expect([result.ours.median, result.raw?.median, result.peers['peer']?.median]).toEqual([1, 2, 3])
  })

  test('what a bench opened is closed, also when a round fails', async () => {
    const events: string[] = []
    const failing = async (): Promise<number> => {
      throw new Error('the server is gone')
    }
    const bench = {
      about: '',
      prepare(resources: AsyncDisposableStack) {
        resources.defer(() => void events.push('closed'))
        return [{ ...madeUp(), ours: failing }]
      },
    }
    await expect(runBench(bench)).rejects.toThrow('the server is gone')
    expect(events).toEqual(['closed'])
  })
})

describe('results', () => {
  test('have the shape that --json writes', async () => {
    const rounds = { warmUp: 0, counted: 7 }
    const figure = (value: number): object => ({ median: value, min: value, max: value })
    const shown = { case: 'made up', unit: 'us', better: 'lower', ours: figure(1) }
    const alone = await runCase(madeUp(), rounds)
    expect(JSON.parse(JSON.stringify(alone))).toStrictEqual({ ...shown, peers: {} })
    const compared = await runCase({ ...madeUp(), raw: () => 2, peers: { peer: () => 3 } }, rounds)
    const expected = { ...shown, raw: figure(2), peers: { peer: figure(3) } }
    expect(JSON.parse(JSON.stringify(compared))).toStrictEqual(expected)
  })

  test('are a table with a column for each peer, and the ratio', () => {
    const figure = { median: 3, min: 2, max: 1234.5 }
    const shared = { unit: 'us', better: 'lower' } as const
    const table = formatTable([
      { ...shared, case: 'a', ours: figure, raw: { median: 2, min: 2, max: 2 }, peers: { peer: figure } },
      { ...shared, case: 'b', ours: { median: 0.01234, min: 0, max: 45.67 }, peers: {} },
    ])
    const cells = table.split('\n').map((line) => line.split(/ {2,}/))
    expect(cells).toEqual([
      ['case', 'unit', 'ours', 'raw', 'peer', 'ours / raw'],
      [
        'a',
        'us, lower is better',
        '3.00 (2.00 to 1235)',
        '2.00 (2.00 to 2.00)',
        '3.00 (2.00 to 1235)',
        '1.50',
      ],
      ['b', 'us, lower is better', '0.0123 (0 to 45.7)', '-', '-', '-'],
    ])
  })
})

describe('arguments', () => {
  test.each([
    [[], undefined, undefined],
    [['overhead'], 'overhead', undefined],
    [['overhead', '--json', 'x.json'], 'overhead', 'x.json'],
    [['--json=x.json', 'overhead'], 'overhead', 'x.json'],
  ])('%j', (args, name, jsonFile) => {
    expect(readArguments(args)).toEqual({ name, jsonFile })
  })

  test.each([
    [['overhead', 'locks'], 'one bench at a time'],
    [['overhead', '--json'], '--json'],
    [['overhead', '--json='], 'name of a file'],
    [['--json', 'x.json'], 'needs a bench'],
    [['overhead', '--rounds', '3'], '--rounds'],
  ])('%j is refused, with the usage', (args, message) => {
    expect(() => readArguments(args)).toThrow(message)
    expect(() => readArguments(args)).toThrow('Usage: pnpm bench')
  })

  test('an unknown bench is refused with the list', () => {
    expect(chooseBench('overhead', ['lock', 'overhead'])).toBe('overhead')
    expect(() => chooseBench('over', ['lock', 'overhead'])).toThrow(
      'no bench "over"; there is lock, overhead',
    )
  })
})

function madeUp(): BenchCase {
  return { name: 'made up', unit: 'us', better: 'lower', ours: () => 1 }
}
