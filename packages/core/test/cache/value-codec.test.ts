import { runInNewContext } from 'node:vm'
import { deflateRawSync } from 'node:zlib'
import { Packr } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { checkCodec, type CacheCodec, ValueCodec } from '../../src/cache/value-codec.ts'
import { capabilityContext } from '../../src/testing/index.ts'
import { failureOf } from '../support/outcome.ts'

interface Settings {
  readonly codec?: 'json' | CacheCodec
  readonly compressFromBytes?: number
  readonly maxBytes?: number
}

function codecWith({ codec = 'json', compressFromBytes, maxBytes = 1_048_576 }: Settings = {}) {
  const reported: unknown[] = []
  const context = capabilityContext('cache', 'memory', { report: (error) => reported.push(error) })
  const values = new ValueCodec({ namespace: 'users', codec, compressFromBytes, maxBytes, context })
  return { values, reported }
}

const packr = new Packr({ structuredClone: true, moreTypes: true })
const msgpackr: CacheCodec = {
  name: 'msgpackr',
  encode: (value) => packr.pack(value),
  decode: (bytes) => packr.unpack(bytes),
}

const plainValues: readonly unknown[] = [
  null,
  '',
  0,
  -1.5,
  1e308,
  true,
  false,
  [],
  {},
  'ä €🤖 \u0000 \u2028 \ud800',
  [[], [null, { a: [{ b: null }] }]],
  { '': [1, 'two'], ['__proto__']: 3, 'ä"\\': { deep: { deeper: [false] } } },
]

describe('values as JSON', () => {
  test.each(plainValues.map((value) => [JSON.stringify(value), value]))('%s comes back exact', (_, value) => {
    const { values } = codecWith()
    expect(values.decode(values.encode(value))).toStrictEqual(value)
  })

  test('bytes come back as the bytes that they are, of the same class, and shared with nobody', () => {
    const { values } = codecWith()
    const every = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
    for (const value of [every, every.subarray(10, 20), Buffer.alloc(0)]) {
      const data = values.encode(value)
      const found = values.decode(data)
      expect(found).toStrictEqual(Buffer.from(value))
      data.fill(0)
      expect(found).toStrictEqual(Buffer.from(value))
    }
    const found = values.decode(values.encode(new Uint8Array(every)))
    expect(found).toStrictEqual(new Uint8Array(every))
    expect(Buffer.isBuffer(found)).toBe(false)
  })

  class Money {
    readonly #cents = 5
    toString(): string {
      return String(this.#cents)
    }
  }
  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  // oxlint-disable-next-line no-sparse-arrays
  const hole = [1, , 3]
  class Rows extends Array<number> {}

  test.each([
    ['NaN', Number.NaN, 'NaN at value,'],
    ['Infinity', [Number.POSITIVE_INFINITY], 'Infinity at value[0],'],
    ['a bigint', 10n, 'BigInt'],
    ['a Map', new Map(), 'Map at value,'],
    ['a Set', { a: new Set() }, 'Set at value["a"],'],
    ['a Date', { 'b c': [0, new Date(0)] }, 'Date at value["b c"][1],'],
    ['a function', { f: () => 1 }, 'function at value["f"],'],
    ['a symbol', Symbol('a'), 'symbol at value,'],
    ['undefined in an array', [undefined], 'undefined at value[0],'],
    ['undefined', undefined, 'undefined at value,'],
    ['a hole', hole, 'undefined at value[1],'],
    [
      'a property of an array',
      { a: Object.assign([1], { total: 7 }) },
      'a property of an array at value["a"]["total"],',
    ],
    ['a kind of array', [Rows.from([1])], 'Rows at value[0],'],
    ['an array without its prototype', Object.setPrototypeOf([1], null), 'Array at value,'],
    ['a symbol as a name', [{ [Symbol('x')]: 1 }], 'the property Symbol(x) at value[0],'],
    [
      'a symbol as a name of an array',
      Object.assign([1], { [Symbol('x')]: 1 }),
      'the property Symbol(x) at value,',
    ],
    ['a cycle', cycle, 'circular'],
    ['bytes inside', { bytes: Buffer.from('a') }, 'Buffer at value["bytes"],'],
    ['other numbers in a row', new Float64Array(2), 'Float64Array at value,'],
    ['an error', new Error('no'), 'Error at value,'],
    ['an object that has methods', new Money(), 'Money at value,'],
    ['an object that says what JSON it is', { toJSON: () => 1 }, 'function at value["toJSON"],'],
  ])('%s is refused, by a message that says where it is and what to do', async (_, value, words) => {
    const failure = await failureOf(() => codecWith().values.encode(value))
    expect(failure).toMatchObject({
      code: 'INVALID_ARGUMENT',
      outcome: 'not-sent',
      message: expect.stringContaining(words),
    })
    expect(failure).toMatchObject({ message: expect.stringContaining('codec') })
  })

  test('a row of a class without methods is plain data, and so is what has no prototype', () => {
    class Row {
      readonly id = 1
    }
    const { values } = codecWith()
    const bare: unknown = Object.assign(Object.create(null), { id: 1 })
    expect(values.decode(values.encode([new Row(), bare]))).toStrictEqual([{ id: 1 }, { id: 1 }])
  })

  test('plain data of another realm is plain, and what is not enumerable does not count', () => {
    const { values } = codecWith()
    const foreign: unknown = runInNewContext('({ rows: [[1], { a: [] }] })')
    const hidden = Object.defineProperty([1], Symbol('hidden'), { value: 1 })
    expect(values.decode(values.encode([foreign, hidden]))).toStrictEqual([{ rows: [[1], { a: [] }] }, [1]])
  })

  test('what is larger than the backend takes is refused', async () => {
    const { values } = codecWith({ maxBytes: 100 })
    expect(values.encode('a'.repeat(97)).byteLength).toBe(100)
    expect(await failureOf(() => values.encode('a'.repeat(98)))).toMatchObject({ code: 'TOO_LARGE' })
    expect(await failureOf(() => values.encode(Buffer.alloc(100)))).toMatchObject({ code: 'TOO_LARGE' })
  })
})

describe('compression', () => {
  const rows = Array.from({ length: 500 }, (_, id) => ({ id, name: `Name ${id}` }))

  test('makes entries smaller, which who does not compress can read', () => {
    const compressing = codecWith({ compressFromBytes: 1_024 }).values
    const { values } = codecWith()
    for (const value of [rows, Buffer.alloc(5_000, 'abc'), new Uint8Array(5_000)]) {
      const data = compressing.encode(value)
      expect(data.byteLength).toBeLessThan(values.encode(value).byteLength / 2)
      expect(values.decode(data)).toStrictEqual(value)
    }
  })

  test('leaves alone what is short, and what it would make larger', () => {
    const compressing = codecWith({ compressFromBytes: 1_024 }).values
    const { values } = codecWith()
    const noise = Buffer.from(Array.from({ length: 2_000 }, (_, index) => (index * index * 7_919) >> 5))
    expect(compressing.encode('a'.repeat(1_000))).toEqual(values.encode('a'.repeat(1_000)))
    expect(codecWith({ compressFromBytes: 0 }).values.encode(1)).toEqual(values.encode(1))
    expect(compressing.decode(compressing.encode(noise))).toStrictEqual(noise)
  })

  test('goes before the limit of the backend', () => {
    const { values } = codecWith({ compressFromBytes: 1_024, maxBytes: 1_000 })
    expect(values.encode('a'.repeat(10_000)).byteLength).toBeLessThan(1_000)
  })

  test('does not fill the memory with an entry that somebody else stored', () => {
    const { values, reported } = codecWith()
    const [header] = codecWith({ compressFromBytes: 1 }).values.encode(Buffer.alloc(1_000))
    const bomb = deflateRawSync(Buffer.alloc(64 * 1_048_576 + 1), { level: 1 })
    expect(values.decode(Buffer.concat([Buffer.from([header ?? 0]), bomb]))).toBeUndefined()
    expect(reported).toMatchObject([{ code: 'REJECTED', cause: { code: 'ERR_BUFFER_TOO_LARGE' } }])
  })
})

describe('a codec of the app', () => {
  test('stores what JSON cannot: msgpackr', () => {
    const { values, reported } = codecWith({ codec: msgpackr, compressFromBytes: 100 })
    const value = {
      map: new Map([['a', new Set([1, 2])]]),
      at: new Date(1_700_000_000_000),
      big: 12_345_678_901_234n,
      list: [Number.NaN, Number.NEGATIVE_INFINITY, undefined],
      bytes: Buffer.from('bytes'),
      text: 'a'.repeat(200),
    }
    expect(values.decode(values.encode(value))).toEqual(value)
    expect(reported).toEqual([])
  })

  test('gets bytes too, as every other value', () => {
    const v8Like: CacheCodec = { name: 'reverse', encode: reversed, decode: reversed }
    const { values } = codecWith({ codec: v8Like })
    const data = values.encode(Buffer.from('abc'))
    expect(data.subarray(-3).toString()).toBe('cba')
    expect(values.decode(data)).toEqual(Buffer.from('abc'))
  })

  test('may hand out a buffer that it writes to again', () => {
    const shared = Buffer.alloc(4)
    const codec: CacheCodec = {
      name: 'shared',
      encode: (value) => shared.fill(String(value)),
      decode: (bytes) => bytes.toString(),
    }
    const { values } = codecWith({ codec })
    const first = values.encode('a')
    values.encode('b')
    expect(values.decode(first)).toBe('aaaa')
  })

  test('that throws, or makes no bytes, is told to the caller', async () => {
    const refusal = new Error('not this one')
    const refusing: CacheCodec = { ...msgpackr, encode: () => throwing(refusal) }
    expect(await failureOf(() => codecWith({ codec: refusing }).values.encode(1))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      cause: refusal,
    })
    const wrong: unknown = { ...msgpackr, encode: String }
    if (!isCodec(wrong)) throw new Error('not even by its form')
    expect(await failureOf(() => codecWith({ codec: wrong }).values.encode(1))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('msgpackr'),
    })
  })

  test.each([
    ['no object', 'yaml'],
    ['no name', { encode: () => Buffer.alloc(0), decode: () => 1 }],
    ['a bad name', { ...msgpackr, name: 'a b' }],
    ['no decode', { name: 'a', encode: () => Buffer.alloc(0) }],
  ])('with %s is refused', async (_, codec) => {
    expect(await failureOf(() => checkCodec(codec))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('that has all that it needs is taken, and json is', () => {
    expect([checkCodec(msgpackr), checkCodec('json')]).toEqual([msgpackr, 'json'])
  })
})

describe('an entry that cannot be read', () => {
  const json = codecWith().values.encode({ a: 1 })
  const packed = codecWith({ codec: msgpackr }).values.encode({ a: 1 })

  test.each([
    ['is empty', 'json', Buffer.alloc(0)],
    ['is of an unknown format', 'json', Buffer.from([0xf0, 1, 2])],
    ['is of an unknown kind', 'json', Buffer.from([0x17, 1, 2])],
    ['is cut', 'json', json.subarray(0, -1)],
    ['is not deflated as it says', 'json', Buffer.from([0x18, 0xff, 0xff])],
    ['was stored with a codec', 'json', packed],
    ['was stored as JSON', msgpackr, json],
    ['was stored by another codec', { ...msgpackr, name: 'msgpack' }, packed],
    ['is cut for its codec', msgpackr, packed.subarray(0, -2)],
  ] as const)('because it %s counts as absent, which is reported once', (_, codec, data) => {
    const { values, reported } = codecWith({ codec })
    expect([values.decode(data), values.decode(data)]).toEqual([undefined, undefined])
    expect(reported).toMatchObject([{ code: 'REJECTED', details: { namespace: 'users' } }])
  })
})

function reversed(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? Buffer.from(value).reverse() : Buffer.alloc(0)
}

function throwing(error: Error): never {
  throw error
}

/** By its form, as JavaScript has it. */
function isCodec(value: unknown): value is CacheCodec {
  return checkCodec(value) !== 'json'
}
