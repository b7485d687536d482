import { describe, expect, test } from 'vitest'
import { reasonOf, toDriverError } from '../../src/errors/to-driver-error.ts'
import { MultinodeError } from '../../src/errors/multinode-error.ts'

const origin = { capability: 'lock', backend: 'acme', operation: 'acquire' }

describe('toDriverError', () => {
  test('passes a typed error on unchanged', () => {
    const error = new MultinodeError('UNAVAILABLE', 'away')
    expect(toDriverError(error, origin)).toBe(error)
  })

  test('wraps anything else once, as INTERNAL with its cause, and says where it came up', () => {
    const cause = new TypeError('x is not a function')
    const wrapped = toDriverError(cause, origin)
    expect(wrapped).toMatchObject({ code: 'INTERNAL', capability: 'lock', backend: 'acme' })
    expect(wrapped.cause).toBe(cause)
    expect(wrapped.message).toContain('lock on acme: acquire failed: x is not a function')
    expect(toDriverError(wrapped, origin)).toBe(wrapped)
  })

  test('does not repeat the password of an address that the cause quotes', () => {
    const wrapped = toDriverError(new Error('connect redis://:hunter2@db failed'), origin)
    expect(wrapped.message).toContain('connect redis://:***@db failed')
    expect(wrapped.message).not.toContain('hunter2')
  })
})

describe('reasonOf', () => {
  test.each<readonly [string, unknown, string]>([
    ['an error', new Error('why'), 'why'],
    ['text', 'why', 'why'],
    ['nothing', undefined, 'undefined'],
    ['a symbol', Symbol('why'), 'Symbol(why)'],
    ['an object without a text form', Object.create(null), 'Object'],
  ])('finds words for %s', (_, thrown, words) => {
    expect(reasonOf(thrown)).toBe(words)
  })
})
