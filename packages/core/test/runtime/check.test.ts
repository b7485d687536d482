import { describe, expect, test } from 'vitest'
import {
  checkArray,
  checkCount,
  checkDate,
  checkFunction,
  checkKey,
  checkKnownOptions,
  checkMs,
  checkName,
  checkSignal,
  checkString,
} from '../../src/runtime/check.ts'

const withoutText: unknown = Object.create(null)

describe('checkMs', () => {
  test.each([10, 11, 2_147_483_647])('accepts %d from 10', (value) => {
    expect(checkMs('ttlMs', value, { min: 10 })).toBe(value)
  })

  test.each<readonly [unknown, string]>([
    [9, '9'],
    [0, '0'],
    [-1, '-1'],
    [10.5, '10.5'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    [2_147_483_648, '2147483648'],
    ['10', '"10"'],
    [10n, '10'],
    [null, 'null'],
    [{ ms: 10 }, 'of type Object'],
    [withoutText, 'of type Object'],
  ])('refuses %s', (value, shown) => {
    const check = (): unknown => checkMs('ttlMs', value, { min: 10 })
    expect(check).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { name: 'ttlMs' } }))
    expect(check).toThrow(
      `ttlMs is ${shown}; it must be a whole number of milliseconds from 10 to 2147483647.`,
    )
  })

  test('keeps to a maximum of the caller', () => {
    expect(() => checkMs('x', 101, { min: 0, max: 100 })).toThrow('from 0 to 100')
  })
})

describe('checkCount', () => {
  test.each([1, 2, 100])('accepts %d from 1 to 100', (value) => {
    expect(checkCount('permits', value, { min: 1, max: 100 })).toBe(value)
  })

  test.each<readonly [unknown, string]>([
    [0, '0'],
    [101, '101'],
    [1.5, '1.5'],
    [Number.NaN, 'NaN'],
    ['1', '"1"'],
    [undefined, 'undefined'],
    [withoutText, 'of type Object'],
  ])('refuses %s', (value, shown) => {
    const check = (): unknown => checkCount('permits', value, { min: 1, max: 100 })
    expect(check).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { name: 'permits' } }))
    expect(check).toThrow(`permits is ${shown}; it must be a whole number from 1 to 100.`)
  })
})

describe('checkDate', () => {
  test.each([0, 1_767_225_600_000, 8_640_000_000_000_000])('accepts %d ms, also as a Date', (ms) => {
    expect(checkDate('at', ms)).toBe(ms)
    expect(checkDate('at', new Date(ms))).toBe(ms)
  })

  test.each<readonly [unknown, string]>([
    [new Date('x'), 'of type Date'],
    [new Date(-1), 'of type Date'],
    [-1, '-1'],
    [0.5, '0.5'],
    [Number.NaN, 'NaN'],
    ['2026-01-01', '"2026-01-01"'],
    [undefined, 'undefined'],
    [null, 'null'],
  ])('refuses %s', (value, shown) => {
    const check = (): unknown => checkDate('at', value)
    expect(check).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { name: 'at' } }))
    expect(check).toThrow(`at is ${shown}; it must be a valid Date, or whole milliseconds since 1970.`)
  })
})

describe('checkKey', () => {
  test.each(['a', ' ', '{a}', 'a\0b', '\u{1F512}', 'x'.repeat(1_024)])('accepts %j', (key) => {
    expect(checkKey('key', key)).toBe(key)
  })

  test.each<readonly [string, unknown]>([
    ['an empty one', ''],
    ['one of 1,025 characters', 'x'.repeat(1_025)],
    ['a lone high surrogate', 'a\uD83D'],
    ['a lone low surrogate', '\uDD12b'],
    ['surrogates in the wrong order', '\uDD12\uD83D'],
    ['a number', 42],
    ['undefined', undefined],
  ])('refuses %s', (_, key) => {
    expect(() => checkKey('key', key)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { name: 'key' } }),
    )
  })

  test('shows no more than the beginning of a long key', () => {
    expect(() => checkKey('key', 'x'.repeat(5_000))).toThrow(/^key is "x{80}"; it must be/)
  })
})

describe('checkKnownOptions', () => {
  test('refuses a name that does not exist, and tells those that do', () => {
    const check = (): void => checkKnownOptions('acquire', { ttlMS: 1 }, ['ttlMs', 'waitMs'])
    expect(check).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { name: 'ttlMS' } }))
    expect(check).toThrow('acquire has no option "ttlMS"; it knows ttlMs, waitMs.')
  })

  test('refuses what is no object', () => {
    const untyped: readonly unknown[] = [null, 5_000, 'ttlMs']
    for (const options of untyped) {
      expect(() => Reflect.apply(checkKnownOptions, undefined, ['acquire', options, ['ttlMs']])).toThrow(
        'the options of acquire is',
      )
    }
  })
})

describe('the other checks', () => {
  test('name the argument, its value and what is accepted', () => {
    expect(() => checkFunction('routine', 5)).toThrow('routine is 5; it must be a function.')
    expect(() => checkSignal('signal', {})).toThrow('signal is of type Object; it must be an AbortSignal.')
    expect(() => checkName('name', 'a b', /^\w+$/)).toThrow(
      'name is "a b"; it must be text that matches ^\\w+$.',
    )
    expect(() => checkArray('plugins', 'x')).toThrow('plugins is "x"; it must be an array.')
    expect(() => checkString('resolveFrom', 5)).toThrow('resolveFrom is 5; it must be text.')
  })

  test('let right values pass', () => {
    expect(() => {
      checkFunction('routine', () => {})
      checkSignal('signal', undefined)
      checkSignal('signal', AbortSignal.abort())
      checkArray('plugins', [])
      checkString('resolveFrom', '')
    }).not.toThrow()
    expect(checkName('name', 'ab', /^\w+$/)).toBe('ab')
  })
})
