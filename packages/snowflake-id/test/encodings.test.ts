import { figure, seededRandom } from '@multinode/testbed'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createDecoder,
  createSnowflake,
  fromBase62,
  fromCrockford13,
  toBase62,
  toCrockford13,
} from '../src/index.ts'
import { errorOf } from './errors.ts'

const count = figure({ slice: 20_000, full: 1_000_000 })
const numRuns = figure({ slice: 1000, full: 20_000 })
const timeout = figure({ slice: 10_000, full: 120_000 })
const maxId = 2n ** 63n - 1n

const encodings = [
  {
    name: 'crockford13',
    width: 13,
    to: toCrockford13,
    from: fromCrockford13,
    alphabet: /^[0-9A-HJKMNP-TV-Z]+$/,
  },
  { name: 'base62', width: 11, to: toBase62, from: fromBase62, alphabet: /^[0-9A-Za-z]+$/ },
] as const

describe.for(encodings)('$name', { timeout }, ({ width, to, from, alphabet }) => {
  const id = fc.bigInt({ min: 0n, max: maxId })

  it('has one width and one alphabet, and is read back', () => {
    fc.assert(
      fc.property(id, (value) => {
        const text = to(value)
        expect(text).toHaveLength(width)
        expect(text).toMatch(alphabet)
        expect(from(text)).toBe(value)
      }),
      { numRuns },
    )
  })

  it('sorts as the ids do', () => {
    fc.assert(
      fc.property(id, id, fc.bigInt({ min: 0n, max: 3n }), (one, other, near) => {
        for (const next of [other, one + near > maxId ? one - near : one + near]) {
          expect(to(one) < to(next)).toBe(one < next)
          expect(to(one) === to(next)).toBe(one === next)
        }
      }),
      { numRuns },
    )
  })

  it('is the same for a number and its bigint', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        expect(to(value)).toBe(to(BigInt(value)))
      }),
      { numRuns },
    )
  })

  it('inverts many random ids', () => {
    const random = seededRandom()
    let wrong = 0
    for (let each = 0; each < count; each += 1) {
      const value = (BigInt(random.between(0, 2 ** 31 - 1)) << 32n) | BigInt(random.between(0, 2 ** 32 - 1))
      if (from(to(value)) !== value) wrong += 1
    }
    expect(wrong, `seed ${random.seed}`).toBe(0)
  })

  it('holds the edges', () => {
    const edges = [0n, 1n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 62n, maxId]
    expect(edges.map((edge) => from(to(edge)))).toEqual(edges)
    expect(to(0)).toBe('0'.repeat(width))
  })

  it.for([-1, 1.5, NaN, 2 ** 53, -1n, 2n ** 63n, '5', null, undefined])('refuses to write %s', (value) => {
    expect(errorOf(() => Reflect.apply(to, undefined, [value]))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { name: 'id', value },
    })
  })

  it('refuses to read what it has not written', () => {
    const good = to(maxId)
    const wrong = [
      '',
      '0',
      `0${good}`,
      good.slice(1),
      ` ${good.slice(1)}`,
      `-${good.slice(1)}`,
      `${good.slice(1)}ü`,
    ]
    for (const text of [...wrong, 'Z'.repeat(width), 'z'.repeat(width), 5, 5n, null, undefined]) {
      expect(errorOf(() => Reflect.apply(from, undefined, [text]))).toMatchObject({
        code: 'INVALID_ARGUMENT',
        details: { name: 'id' },
      })
    }
  })
})

it('crockford13 has no letters that look like digits, and reads upper case only', () => {
  for (const letter of ['I', 'L', 'O', 'U', 'a']) {
    expect(errorOf(() => fromCrockford13(`000000000000${letter}`)).code).toBe('INVALID_ARGUMENT')
  }
})

describe('decode', () => {
  const clock = (): number => Date.UTC(2026, 0, 1)

  it('takes the form that the generator gives out', () => {
    const expected = { timestampMs: clock(), date: new Date(clock()), workerId: 7, sequence: 0 }
    const wide = { worker: 7, layout: 'twitter64', clock } as const
    const number = createSnowflake({ worker: 7, clock })
    const bigint = createSnowflake({ ...wide, output: 'bigint' })
    expect(number.decode(number.generate())).toEqual(expected)
    expect(bigint.decode(bigint.generate())).toEqual(expected)
    for (const output of ['string', 'crockford13', 'base62'] as const) {
      for (const options of [{ worker: 7, clock }, wide]) {
        const ids = createSnowflake({ ...options, output })
        const { layout } = { layout: 'js53', ...options } as const
        const id = ids.generate()
        expect(ids.decode(id)).toEqual(expected)
        expect(createDecoder({ layout, output }).decode(id)).toEqual(expected)
        expect(id >= ids.minFor(clock()) && id <= ids.maxFor(clock())).toBe(true)
      }
    }
  })

  it.for([
    ['number', [-1, 1.5, NaN, Infinity, 2 ** 53, '5', 5n, null, undefined]],
    ['bigint', [-1n, 2n ** 53n, 2n ** 64n, 5, '5', null, undefined]],
    [
      'string',
      ['', '-1', '+1', '1.5', '01', ' 1', '1e3', '0x1', '1n', String(2n ** 53n), '9'.repeat(30), 5, 5n, null],
    ],
    ['crockford13', [toCrockford13(2n ** 53n), 'i', 5, null]],
    ['base62', [toBase62(2n ** 53n), '5', 5, null]],
  ] as const)('refuses what is no id of the layout: %s', ([output, wrong]) => {
    const { decode } = createDecoder({ output })
    for (const id of wrong) {
      expect(errorOf(() => Reflect.apply(decode, undefined, [id]))).toMatchObject({
        code: 'INVALID_ARGUMENT',
        details: { name: 'id', value: id },
      })
    }
  })
})
