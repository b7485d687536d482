import { describe, expect, test } from 'vitest'
import { type ErrorCode, isMultinodeError, MultinodeError } from '../../src/errors/multinode-error.ts'

/** Exhaustive by its type: a new code must be added here, and somebody must decide whether it is retryable. */
const retryableByCode: Readonly<Record<ErrorCode, boolean>> = {
  INVALID_ARGUMENT: false,
  MISCONFIGURED: false,
  NOT_FOUND: false,
  ALREADY_EXISTS: false,
  NOT_OWNED: false,
  LOST: false,
  TIMEOUT: true,
  UNAVAILABLE: true,
  EXHAUSTED: true,
  TOO_LARGE: false,
  REJECTED: false,
  UNSUPPORTED: false,
  CLOCK_SKEW: false,
  ABORTED: false,
  CLOSED: false,
  INTERNAL: false,
}

function isErrorCode(text: string): text is ErrorCode {
  return text in retryableByCode
}

describe('MultinodeError', () => {
  test.each(Object.entries(retryableByCode))('%s is retryable: %s', (code, retryable) => {
    expect(isErrorCode(code) && new MultinodeError(code, 'x').retryable).toBe(retryable)
  })

  test('carries what it was told', () => {
    const cause = new Error('socket closed')
    const error = new MultinodeError('UNAVAILABLE', 'Redis is away', {
      cause,
      capability: 'lock',
      backend: 'redis',
      details: { key: 'a' },
      outcome: 'not-sent',
    })
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({
      name: 'MultinodeError',
      code: 'UNAVAILABLE',
      message: 'Redis is away',
      capability: 'lock',
      backend: 'redis',
      details: { key: 'a' },
      outcome: 'not-sent',
    })
    expect(error.cause).toBe(cause)
    expect(error.stack).toContain('MultinodeError: Redis is away')
  })

  test('has no cause, no outcome and empty details unless told', () => {
    const error = new MultinodeError('INTERNAL', 'x')
    expect('cause' in error).toBe(false)
    expect(error.outcome).toBeUndefined()
    expect(error.details).toEqual({})
  })

  test('keeps a cause that is undefined, as of an abort without a reason', () => {
    expect('cause' in new MultinodeError('ABORTED', 'x', { cause: undefined })).toBe(true)
  })
})

describe('isMultinodeError', () => {
  test('recognises an error of another copy of core, by its brand', async () => {
    const copy = `${new URL('../../src/errors/multinode-error.ts', import.meta.url).href}?copy`
    const other: { MultinodeError: typeof MultinodeError } = await import(/* @vite-ignore */ copy)
    const foreign: unknown = new other.MultinodeError('LOST', 'x')
    expect(foreign).not.toBeInstanceOf(MultinodeError)
    expect(isMultinodeError(foreign)).toBe(true)
  })

  test('recognises an error of a package that does not depend on core', () => {
    const foreign = Object.assign(new Error('x'), { code: 'CLOCK_SKEW', retryable: false })
    Object.defineProperty(foreign, Symbol.for('multinode.error'), { value: true })
    expect(isMultinodeError(foreign)).toBe(true)
  })

  test.each([
    ['an ordinary error', new Error('x')],
    ['an error of the same shape without the brand', Object.assign(new Error('x'), { code: 'TIMEOUT' })],
    ['an object with the brand that is no error', { [Symbol.for('multinode.error')]: true }],
    ['undefined', undefined],
    ['null', null],
    ['text', 'TIMEOUT'],
  ])('is not fooled by %s', (_, value) => {
    expect(isMultinodeError(value)).toBe(false)
  })

  test('the brand is not among the enumerable properties, so that logs stay readable', () => {
    const error = new MultinodeError('LOST', 'x')
    expect(Object.getOwnPropertyDescriptor(error, Symbol.for('multinode.error'))?.enumerable).toBe(false)
  })
})
