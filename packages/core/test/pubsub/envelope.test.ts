import { describe, expect, test } from 'vitest'
import { decode, encode, type Envelope } from '../../src/pubsub/envelope.ts'
import { failureOf } from '../support/outcome.ts'

function envelope(payload: unknown, others: Partial<Envelope> = {}): Envelope {
  return { nodeId: 'n1', key: undefined, to: undefined, lost: undefined, payload, ...others }
}

/** What is on the wire, written by hand. */
function wire(version: number, rest: string): Uint8Array {
  return Buffer.concat([Buffer.from([version]), Buffer.from(rest)])
}

const everyByte = Uint8Array.from({ length: 256 }, (_, index) => index)

describe('an envelope', () => {
  test.each([
    ['an object', { id: 7, tags: ['a', null], nested: { deep: true } }],
    ['text', 'naïve\n🔒'],
    ['empty text', ''],
    ['a number', 1.5],
    ['0', 0],
    ['false', false],
    ['null', null],
    ['an empty list', []],
    ['nothing', undefined],
    ['a lone surrogate', 'a\uD83D'],
    ['a key that is a prototype', JSON.parse('{"__proto__":{"a":1}}')],
  ])('carries %s as it is', (_, payload) => {
    expect(decode(encode(envelope(payload)))).toEqual(envelope(payload))
  })

  test.each([
    ['every byte', everyByte],
    ['no byte', new Uint8Array()],
    ['newlines', Uint8Array.of(10, 10, 1, 10)],
    ['a Buffer', Buffer.from('text')],
    ['a part of a larger array', new Uint8Array(everyByte.buffer, 10, 20)],
  ])('carries %s as bytes', (_, payload) => {
    const read = decode(encode(envelope(payload))).payload
    expect(read).toStrictEqual(new Uint8Array(payload))
  })

  test('gives bytes that are the only ones in their memory', () => {
    const { payload } = decode(encode(envelope(everyByte)))
    expect(payload instanceof Uint8Array && payload.buffer.byteLength).toBe(256)
  })

  test('carries who published it, its key, whom it is for, and how many were lost', () => {
    const whole = envelope('x', { nodeId: 'n-ä\n', key: 'k\n1', to: ['n1', 'n2'] })
    expect(decode(encode(whole))).toEqual(whole)
    const loss = envelope(undefined, { lost: 12 })
    expect(decode(encode(loss))).toEqual(loss)
  })

  test('is read from any place in a larger buffer', () => {
    const data = encode(envelope({ a: 1 }))
    const larger = Buffer.concat([Buffer.from('before'), data, Buffer.from('after')])
    expect(decode(larger.subarray(6, 6 + data.byteLength)).payload).toEqual({ a: 1 })
  })

  test('is read though it has fields that this version does not know', () => {
    const later = wire(1, '{"n":"n2","k":"k","zip":"gz","ttl":{"ms":5}}\n{"a":1}')
    expect(decode(later)).toEqual(envelope({ a: 1 }, { nodeId: 'n2', key: 'k' }))
  })

  test('is read without what another version says in another way', () => {
    const other = wire(1, '{"n":5,"k":{},"to":"n1","lost":"3","b":true}\n"x"')
    expect(decode(other)).toEqual(envelope('x', { nodeId: '' }))
    expect(decode(wire(1, '[]\n"x"'))).toEqual(envelope('x', { nodeId: '' }))
  })

  test.each([
    ['a version that is not known', wire(2, '{"n":"n2"}\n"x"'), 'the format version 2, this library reads 1'],
    ['no version', wire(123, '"n":"n2"}\n"x"'), 'the format version 123'],
    ['no header', wire(1, '{"n":"n2"}'), 'the format version 1'],
    ['no bytes', new Uint8Array(), 'the format version undefined'],
  ])('with %s is refused', async (_, data, message) => {
    const error = await failureOf(() => decode(data))
    expect(error).toMatchObject({ code: 'REJECTED', message: expect.stringContaining(message) })
  })

  test.each([
    ['a header', '{"n":\n"x"'],
    ['a payload', '{"n":"n2"}\n{"a":'],
  ])('with %s that is no JSON is refused', (_, rest) => {
    expect(() => decode(wire(1, rest))).toThrow()
  })

  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  test.each([
    ['a function', (): void => {}],
    ['a symbol', Symbol('s')],
    ['a BigInt', 1n],
    ['a circle', circular],
    ['an object that says no', { toJSON: (): undefined => undefined }],
    [
      'an object that throws',
      {
        toJSON: (): never => {
          throw new Error('not me')
        },
      },
    ],
  ])('refuses %s, which has no JSON form', async (_, payload) => {
    const error = await failureOf(() => encode(envelope(payload)))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', capability: 'pubsub' })
    expect(error).toHaveProperty('message', expect.stringContaining('The payload has no JSON form'))
  })
})
