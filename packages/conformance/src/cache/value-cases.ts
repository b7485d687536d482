import { deserialize, serialize } from 'node:v8'
import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import { codeOf, far, range } from './caching.ts'

const mebibyte = 1_048_576

const plainValues: readonly unknown[] = [
  null,
  '',
  'ä €🤖  ﻿ \u0000\n"\\',
  0,
  -1.5,
  1e308,
  Number.MAX_SAFE_INTEGER,
  true,
  false,
  [],
  {},
  [[], [null, [0]], { a: [{ b: null }] }],
  { 'ä {b}': { '': [1, 'two', { three: true }] } },
  Object.fromEntries(range(1, 2_000).map((index) => [`key ${index}`, { index, text: 'ü'.repeat(20) }])),
]

/** Each of them is something else, or nothing, after JSON. */
const awkwardValues: readonly (readonly [string, unknown])[] = [
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['a bigint', 10n],
  ['a Map', new Map([['a', 1]])],
  ['a Set', new Set([1])],
  ['a function', () => 1],
  ['a symbol', Symbol('a')],
  ['a Date', new Date(1_700_000_000_000)],
  ['one deep inside', { list: [{ of: new Map() }] }],
  ['NaN deep inside', [[{ rate: Number.NaN }]]],
]

function bytesOf(length: number): Buffer {
  return Buffer.from(range(0, length - 1).map((index) => (index * 7 + (index >> 8)) % 256))
}

/** What is stored comes back as it was. */
export const valueCases: readonly CacheCase[] = [
  {
    name: 'what JSON can express comes back exact on another node, one at a time and all at once',
    control: 'data-is-latin',
    async run(world) {
      const [one, two] = await world.pair(far)
      const keys = plainValues.map((_, index) => `key ${index}`)
      for (const [index, value] of plainValues.entries()) {
        expect(await one.set(`key ${index}`, value)).toBe('done')
      }
      for (const [index, value] of plainValues.entries()) {
        expect(await two.get(`key ${index}`)).toStrictEqual(value)
      }
      expect(await two.getMany(keys)).toStrictEqual(plainValues)
    },
  },
  {
    name: 'bytes come back byte for byte, a Buffer as one and a Uint8Array as one',
    control: 'data-is-text',
    async run(world) {
      const [one, two] = await world.pair(far)
      const every = bytesOf(1_024)
      await one.setMany([
        { key: 'buffer', value: every },
        { key: 'array', value: new Uint8Array(every) },
        { key: 'part', value: every.subarray(100, 356) },
        { key: 'empty', value: Buffer.alloc(0) },
      ])
      const buffer = await two.get('buffer')
      expect(Buffer.isBuffer(buffer) && buffer.equals(every)).toBe(true)
      const array = await two.get('array')
      expect(array instanceof Uint8Array && !Buffer.isBuffer(array)).toBe(true)
      expect(array).toStrictEqual(new Uint8Array(every))
      expect(await two.get('part')).toStrictEqual(Buffer.from(every.subarray(100, 356)))
      expect(await two.get('empty')).toStrictEqual(Buffer.alloc(0))
    },
  },
  {
    name: '5 MiB come back exact, as text and as bytes',
    control: 'long-data-is-cut',
    async run(world) {
      const [one, two] = await world.pair(far)
      const bytes = Buffer.alloc(5 * mebibyte, bytesOf(65_521))
      const text = 'ä€🤖 0123456789 '.repeat((5 * mebibyte) / 20)
      await one.set('bytes', bytes)
      await one.set('text', { text })
      const found = await two.get('bytes')
      expect(Buffer.isBuffer(found) && found.equals(bytes)).toBe(true)
      const value = await two.get('text')
      // Not by a matcher: one that fails would print all of it.
      expect(Object(value).text === text).toBe(true)
    },
  },
  {
    name: 'what is compressed comes back exact, also where the reader does not compress',
    control: 'data-is-text',
    async run(world) {
      const [one, two] = await world.twoNodes()
      const compressing = one.cache.namespace('things', { ...far, compressFromBytes: 1_024 })
      const plain = two.cache.namespace('things', far)
      const value = { rows: range(1, 3_000).map((id) => ({ id, name: `Name ${id}`, isActive: true })) }
      const bytes = Buffer.alloc(100_000, bytesOf(251))
      await compressing.setMany([
        { key: 'value', value },
        { key: 'bytes', value: bytes },
        { key: 'short', value: 'short' },
      ])
      expect(await plain.getMany(['value', 'bytes', 'short'])).toStrictEqual([value, bytes, 'short'])
    },
  },
  {
    name: 'with a codec of its own a namespace stores what JSON cannot',
    control: 'data-is-text',
    async run(world) {
      const codec = { name: 'v8', encode: serialize, decode: deserialize }
      const [one, two] = await world.pair({ ...far, codec })
      const value = {
        map: new Map([[{ a: 1 }, new Set([1, 2])]]),
        at: new Date(1_700_000_000_000),
        big: 12_345_678_901_234_567_890n,
        list: [Number.NaN, Number.NEGATIVE_INFINITY, undefined],
      }
      await one.set('key', value)
      expect(await two.get('key')).toStrictEqual(value)
    },
  },
  {
    name: 'what JSON would change in silence is stored exactly, or refused by a typed error and not stored',
    control: 'finds-what-is-not-there',
    async run(world) {
      const [one, two] = await world.pair(far)
      await one.set('before', 'before')
      for (const [key, value] of awkwardValues) {
        const code = await codeOf(one.set(key, value))
        const found = await two.get(key)
        if (code === 'INVALID_ARGUMENT') expect([key, found]).toEqual([key, undefined])
        else expect([key, code, found]).toStrictEqual([key, 'done', value])
      }
    },
  },
]
