import { describe, expect, it } from 'vitest'
import { CacheKeys } from '../src/cache-keys.ts'
import { recordArguments, takenFor, toStored, unpackRecord, Versions } from '../src/entry-record.ts'
import { entry } from './node.ts'

const versions = new Versions(
  1_795_318_428_431_249,
  new Map([
    ['tag', 1],
    ['日本 {tag}', 2],
  ]),
)

/** What the scripts put before it. */
function record(format: number, freshUntilMs: number, keptUntilMs: number): Buffer {
  const head = Buffer.alloc(17)
  head.writeUInt8(format, 0)
  head.writeDoubleBE(freshUntilMs, 1)
  head.writeDoubleBE(keptUntilMs, 9)
  const rest = recordArguments(entry('key', 'value'), versions, Infinity).filter((each) =>
    Buffer.isBuffer(each),
  )
  return Buffer.concat([head, ...rest])
}

describe('the record of an entry', () => {
  it('is read as it was written', () => {
    const read = unpackRecord(record(1, 2_000, 3_000))
    expect(read).toEqual({ freshUntilMs: 2_000, keptUntilMs: 3_000, versions, data: Buffer.from('value') })
    expect(read && toStored(read, 2_500)).toEqual({
      data: Buffer.from('value'),
      freshMs: -500,
      keptMs: 500,
      tags: ['tag', '日本 {tag}'],
    })
    expect(read && toStored(read, 3_000)).toBe(undefined)
  })

  it.each([
    ['nothing', null],
    ['a format to come', record(2, 2_000, 3_000)],
    ['something else', Buffer.from('a value of somebody else, long enough')],
    ['too little', Buffer.from([1, 2, 3])],
  ])('is none where there is %s', (_, bytes) => {
    expect(unpackRecord(bytes)).toBe(undefined)
  })

  it('is made for a fill only from the snapshot of its claim', () => {
    expect(takenFor(entry('key', 'value', { tags: ['tag'] }), versions)).toBe(versions)
    for (const wrong of [undefined, {}, 'snapshot']) {
      expect(() => takenFor(entry('key', 'value'), wrong)).toThrow('snapshot of its claim')
    }
    expect(() => takenFor(entry('key', 'value', { tags: ['other'] }), versions)).toThrow('no tags')
  })
})

describe('keys of different things', () => {
  const keysOf = (name: string, version: string): CacheKeys => new CacheKeys('shop', { name, version })

  it('never meet, whatever their names are', () => {
    const all = [
      keysOf('a', '').entry('b:c'),
      keysOf('a', 'b').entry('c'),
      keysOf('a:b', '').entry('c'),
      keysOf('a@b', '').entry('c'),
      keysOf('a%40b', '').entry('c'),
      keysOf('a', '').tag('b:c'),
      keysOf('a', '').version,
      keysOf('a', '').entry(''),
      keysOf('a', '').entry('}'),
      keysOf('a', '').entry('%7D'),
    ]
    expect(new Set(all).size).toBe(all.length)
  })

  it('have one part in braces, all of the name: an entry and its lease are in one slot', () => {
    for (const key of ['{a}', '}', '{', 'a}b{c', ' ', '日本']) {
      const [own, lease] = keysOf('n{}', 'v').entryAndLease(key)
      expect(own.replace(/^\{[^{}]+\}:entry$/, '')).toBe('')
      expect(lease.replace(/:lease$/, '')).toBe(own.replace(/:entry$/, ''))
    }
  })
})
