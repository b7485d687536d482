import { isMultinodeError } from '@multinode/core'
import { describe, expect, expectTypeOf, it } from 'vitest'
import {
  createDecoder,
  createSnowflake,
  type NumberSnowflake,
  SnowflakeError,
  type SnowflakeOutput,
} from '../src/index.ts'
import { errorOf } from './errors.ts'

const fine = { unitMs: 1, timeBits: 41, workerBits: 5, sequenceBits: 7 }

describe('createSnowflake refuses', () => {
  it.for([
    ['worker', [NaN, 1.5, -1, 32, Infinity, '3', null, undefined, 3n, {}, { id: 3 }, { id: 3, claim: 5 }]],
    ['worker.id', [NaN, 1.5, -1, '3', undefined].map((id) => ({ id, claim: () => ({}) }))],
    ['layout', ['js54', 'toString', '']],
    ['epoch', [NaN, 1.5, -1, new Date(NaN), '2025-01-01', null, 8_640_000_000_000_001]],
    ['output', ['text', 'toString', null, 5]],
    ['maxAheadMs', [NaN, 1.5, -1, Infinity, '5', 86_400_001]],
    ['clock', [5, 'now', {}]],
    ['output', ['number']],
  ] as const)('%s', ([name, values]) => {
    for (const value of values) {
      const key = name.split('.')[0] ?? ''
      const layout = value === 'number' ? 'twitter64' : 'js53'
      const error = errorOf(() => createSnowflake({ worker: 3, layout, [key]: value }))
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', retryable: false, details: { name } })
      expect(error.message).toMatch(/^(?:\S+ is |A number holds 53 bits)/)
    }
  })

  it.for([
    ['unitMs', [0, 1.5, -1, NaN, '1', undefined, 86_400_001]],
    ['timeBits', [0, 1.5, 54, NaN, undefined]],
    ['workerBits', [-1, 0.5, 32, NaN, undefined]],
    ['sequenceBits', [-1, 0.5, 32, NaN, undefined]],
  ] as const)('a layout with such %s', ([name, values]) => {
    for (const value of values) {
      const error = errorOf(() => createSnowflake({ worker: 0, layout: { ...fine, [name]: value } }))
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name, value } })
    }
  })

  it('layouts that hold too much or name what there is not', () => {
    const wrong = [
      [{ ...fine, workerBits: 20 }, 'layout'],
      [{ ...fine, timeBits: 53, workerBits: 0, sequenceBits: 0 }, 'timeBits'],
      [{ ...fine, unitMs: 86_400_000 }, 'timeBits'],
      [{ ...fine, datacenterBits: 5 }, 'datacenterBits'],
      [5, 'the options of layout'],
      [null, 'the options of layout'],
    ]
    for (const [layout, name] of wrong) {
      expect(
        errorOf(() => Reflect.apply(createDecoder, undefined, [{ layout, output: 'bigint' }])),
      ).toMatchObject({
        code: 'INVALID_ARGUMENT',
        details: { name },
      })
    }
  })

  it('numbers for a layout of more than 53 bits, and says what to do', () => {
    const error = errorOf(() => createSnowflake({ worker: 3, layout: 'twitter64' }))
    expect(error.message).toContain('bigint')
    expect(error.message).toContain('js53')
    errorOf(() => createDecoder({ layout: { ...fine, sequenceBits: 8 } }))
  })

  it('options that do not exist', () => {
    const error = errorOf(() => Reflect.apply(createSnowflake, undefined, [{ worker: 3, workerId: 3 }]))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name: 'workerId' } })
    expect(error.message).toContain('worker, layout, epoch, output, maxAheadMs, clock')
    expect(errorOf(() => Reflect.apply(createDecoder, undefined, [{ worker: 3 }])).details).toEqual({
      name: 'worker',
    })
    for (const options of [undefined, null, 5]) {
      expect(errorOf(() => Reflect.apply(createSnowflake, undefined, [options])).code).toBe(
        'INVALID_ARGUMENT',
      )
    }
  })
})

it.for([0, -1, 1.5, NaN, 1_000_001, '5', undefined])('generateMany refuses %s', (count) => {
  const ids = createSnowflake({ worker: 3, maxAheadMs: 86_400_000 })
  expect(errorOf(() => Reflect.apply(ids.generateMany, undefined, [count]))).toMatchObject({
    code: 'INVALID_ARGUMENT',
    details: { name: 'n', value: count },
  })
  expect(ids.generateMany(1_000_000)).toHaveLength(1_000_000)
})

it.for([NaN, 1.5, new Date(NaN), '2026-01-01', null, undefined])('minFor and maxFor refuse %s', (date) => {
  const { minFor, maxFor } = createDecoder()
  for (const bound of [minFor, maxFor]) {
    expect(errorOf(() => Reflect.apply(bound, undefined, [date]))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { name: 'date' },
    })
  }
})

it('errors are recognised by @multinode/core', () => {
  const error = errorOf(() => createSnowflake({ worker: NaN }))
  expect(error).toBeInstanceOf(SnowflakeError)
  expect(error.name).toBe('SnowflakeError')
  expect(isMultinodeError(error)).toBe(true)
  expect(isMultinodeError(new Error('another'))).toBe(false)
})

it('the types follow the output', () => {
  const output: SnowflakeOutput = 'string'
  expectTypeOf(createSnowflake({ worker: 3 })).toEqualTypeOf<NumberSnowflake>()
  expectTypeOf(createSnowflake({ worker: 3 }).generate()).toEqualTypeOf<number>()
  expectTypeOf(createSnowflake({ worker: 3, output: 'number' }).generateMany(1)).toEqualTypeOf<Float64Array>()
  const bigint = createSnowflake({ worker: 3, output: 'bigint' })
  expectTypeOf(bigint.generate()).toEqualTypeOf<bigint>()
  expectTypeOf(bigint.generateMany(1)).toEqualTypeOf<BigUint64Array>()
  expectTypeOf(bigint.minFor(new Date())).toEqualTypeOf<bigint>()
  const base62 = createSnowflake({ worker: 3, output: 'base62' })
  expectTypeOf(base62.generateAsync()).toEqualTypeOf<Promise<string>>()
  expectTypeOf(base62.generateMany(1)).toEqualTypeOf<string[]>()
  expectTypeOf(createDecoder({ output: 'string' }).decode)
    .parameter(0)
    .toEqualTypeOf<string>()
  const chosen = createSnowflake({ worker: 3, output: output as SnowflakeOutput })
  expectTypeOf(chosen.generate()).toEqualTypeOf<number | bigint | string>()
})
