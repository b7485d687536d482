import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import { callMs } from './cache-world.ts'
import { claimOf, entry, far, textsOf } from './caching.ts'

/** No two of them are the same, however much they look like it. */
const awkwardKeys: readonly string[] = [
  'a',
  'A',
  ' a',
  'a ',
  'a:b',
  'a:{b}',
  '{a}:b',
  '{a',
  'a}',
  '{}',
  '{{a}}',
  '}{',
  'a*',
  'a?',
  '[a]',
  'a%20b',
  'a b',
  'a\nb',
  'a\r\nb',
  'a\u0000b',
  'ä',
  'a\u0308',
  '🤖',
  '__proto__',
  'constructor',
  'a/b/../c',
  'a\'b"c\\',
  '1',
  '01',
]

const longKeys: readonly string[] = [
  `${'k'.repeat(10_239)}a`,
  `${'k'.repeat(10_239)}b`,
  `${'k'.repeat(10_239)}{`,
  `{b}${'ü'.repeat(4_000)}a`,
  `{b}${'ü'.repeat(4_000)}b`,
]

/** Keys and names are taken as they are. */
export const keyCases: readonly CacheCase[] = [
  {
    name: 'keys of any characters are kept apart, one at a time and in batches, and are deleted one by one',
    control: 'keys-are-folded',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      for (const key of awkwardKeys) await one.set(key, `of ${key}`)
      const expected = awkwardKeys.map((key) => `of ${key}`)
      expect(await two.getMany(awkwardKeys)).toEqual(expected)
      expect(await Promise.all(awkwardKeys.map((key) => two.get(key)))).toEqual(expected)
      await one.setMany(awkwardKeys.map((key) => ({ key, value: `again ${key}` })))
      for (const [index, key] of awkwardKeys.entries()) {
        expect(await two.get(key)).toBe(`again ${key}`)
        await two.delete(key)
        const left = (await one.getMany(awkwardKeys)).filter((value) => value !== undefined)
        expect(left).toEqual(awkwardKeys.slice(index + 1).map((each) => `again ${each}`))
      }
    },
  },
  {
    name: 'keys of 10 KB are kept apart by their last character',
    control: 'long-keys-are-cut',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      await one.setMany(longKeys.map((key, index) => ({ key, value: `value ${index}` })))
      expect(await two.getMany(longKeys)).toEqual(longKeys.map((_, index) => `value ${index}`))
      let runs = 0
      const made = longKeys.map((key) => two.getOrSet(`!${key.slice(1)}`, () => (runs += 1).toString()))
      expect(new Set(await Promise.all(made)).size).toBe(longKeys.length)
      await one.delete(longKeys[0] ?? '')
      expect((await two.getMany(longKeys)).map((value) => value !== undefined)).toEqual(
        longKeys.map((_, index) => index > 0),
      )
    },
  },
  {
    name: 'values of keys of any characters are made side by side, each under a lease of its own',
    control: 'one-lease-for-all',
    async run(world) {
      const [one, two] = await world.spaces()
      const keys = [...awkwardKeys, ...longKeys]
      const making = await Promise.all(
        keys.map(async (key) => {
          const request = claimOf(key)
          return { key, request, reply: await one.claim(request, callMs) }
        }),
      )
      expect(making.map(({ reply }) => reply.status)).toEqual(keys.map(() => 'granted'))
      for (const { key, request, reply } of making) {
        const snapshot = reply.status === 'granted' ? reply.snapshot : undefined
        const filled = await one.fill(entry(key, `of ${key}`), request.owner, snapshot, callMs)
        expect([key, filled]).toEqual([key, 'stored'])
      }
      expect(textsOf(await two.getMany(keys, callMs))).toEqual(keys.map((key) => `of ${key}`))
    },
  },
  {
    name: 'namespaces are kept apart by their names, and releases of an app by the version of a namespace',
    control: 'versions-are-ignored',
    async run(world) {
      const [one, two] = await world.twoNodes()
      const spaces = [
        { name: 'users', version: '1' },
        { name: 'users', version: '2' },
        { name: 'users', version: '10' },
        { name: 'users.1', version: '1' },
        { name: 'Users', version: '1' },
      ]
      const below = spaces.map((space) => one.driver.open(space))
      const beside = spaces.map((space) => two.driver.open(space))
      for (const [index, space] of below.entries()) {
        await space?.set([entry('key', `value ${index}`)], callMs)
      }
      const found = await Promise.all(beside.map((space) => space?.get('key', callMs)))
      expect(textsOf(found)).toEqual(spaces.map((_, index) => `value ${index}`))
      await beside[0]?.delete(['key'], callMs)
      const left = await Promise.all(below.map((space) => space?.get('key', callMs)))
      expect(textsOf(left)).toEqual([undefined, ...spaces.slice(1).map((_, index) => `value ${index + 1}`)])
    },
  },
  {
    name: 'a new release of an app with another version does not read the values of the old one, nor delete them',
    control: 'versions-are-ignored',
    async run(world) {
      const [old, young] = await world.twoNodes()
      const before = old.cache.namespace('users', { ...far, version: '1' })
      const after = young.cache.namespace('users', { ...far, version: '2' })
      await before.set('key', 'old')
      expect(await after.get('key')).toBe(undefined)
      expect(await after.getOrSet('key', () => 'new')).toBe('new')
      expect(await before.get('key')).toBe('old')
      await after.clear()
      expect(await before.get('key')).toBe('old')
    },
  },
]
