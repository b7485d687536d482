import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import { callMs } from './cache-world.ts'
import { claimOf, entry, far, Gate, later, range, textsOf } from './caching.ts'

/** Many entries at once, by their namespace and by their tags. */
export const invalidationCases: readonly CacheCase[] = [
  {
    name: 'clear makes all entries of the namespace invalid at once, and those that come after it are valid',
    control: 'clear-does-nothing',
    async run(world) {
      const [one, two] = await world.pair<number>(far)
      const keys = range(1, 2_000).map((index) => `key ${index}`)
      await one.setMany(keys.map((key, value) => ({ key, value })))
      expect(await two.clear()).toBe('done')
      const left = (await one.getMany(keys)).filter((value) => value !== undefined)
      expect(left).toEqual([])
      await one.set('key 1', 1)
      expect(await two.getOrSet('key 2', () => 2)).toBe(2)
      expect(await two.getMany(['key 1', 'key 2', 'key 3'])).toEqual([1, 2, undefined])
    },
  },
  {
    name: 'clear leaves other namespaces alone, and what is no entry',
    control: 'clear-is-of-all',
    async run(world) {
      const [one, two] = await world.twoNodes()
      const names = ['users', 'users.more', 'Users']
      for (const name of names) await one.cache.namespace(name, far).set('key', name)
      await two.cache.namespace('users', far).clear()
      const found = await Promise.all(names.map((name) => one.cache.namespace(name, far).get('key')))
      expect(found).toEqual([undefined, 'users.more', 'Users'])
    },
  },
  {
    name: 'a value that was being made when its namespace was cleared is stored for nobody',
    control: 'snapshots-are-of-the-fill',
    async run(world) {
      const [one, two] = await world.spaces()
      const claim = claimOf('key')
      const reply = await one.claim(claim, callMs)
      expect(reply.status).toBe('granted')
      await two.clear(callMs)
      const snapshot = reply.status === 'granted' ? reply.snapshot : undefined
      await one.fill(entry('key', 'old'), claim.owner, snapshot, callMs)
      expect(textsOf([await two.get('key', callMs), await one.get('key', callMs)])).toEqual([
        undefined,
        undefined,
      ])
    },
  },
  {
    name: 'a tag makes all its entries invalid, also those of other tags, and no others',
    control: 'tags-reach-only-the-first',
    async run(world) {
      const [one, two] = await world.pair<number>(far)
      const keys = range(0, 1_999).map((index) => `key ${index}`)
      // 0, 3, 6, ... have the tag ä:{3}, and 0, 5, 10, ... the other; 0, 15, ... have both.
      const tagsOf = (index: number): string[] => [
        ...(index % 5 === 0 ? ['5'] : []),
        ...(index % 3 === 0 ? ['ä:{3}'] : []),
      ]
      await one.setMany(keys.map((key, value) => ({ key, value, tags: tagsOf(value) })))
      expect(await two.invalidateTags(['ä:{3}', 'of nobody'])).toBe('done')
      const found = await one.getMany(keys)
      expect(found).toEqual(keys.map((_, value) => (value % 3 === 0 ? undefined : value)))
    },
  },
  {
    name: 'tags of one namespace are none of another',
    control: 'tags-are-of-all',
    async run(world) {
      const [one, two] = await world.twoNodes()
      for (const name of ['users', 'posts']) {
        await one.cache.namespace(name, far).set('key', name, { tags: ['tag'] })
      }
      await two.cache.namespace('users', far).invalidateTags(['tag'])
      expect(await one.cache.namespace('users', far).get('key')).toBe(undefined)
      expect(await one.cache.namespace('posts', far).get('key')).toBe('posts')
    },
  },
  {
    name: 'what is stored after an invalidation is valid, and the next one counts again, however soon it comes',
    control: 'soon-after-another-is-ignored',
    async run(world) {
      const [one, two] = await world.pair<number>(far)
      for (const round of range(1, 25)) {
        await one.setMany([
          { key: 'tagged', value: round, tags: ['tag'] },
          { key: 'plain', value: round },
        ])
        expect(await two.getMany(['tagged', 'plain'])).toEqual([round, round])
        await two.invalidateTags(['tag'])
        expect(await one.getMany(['tagged', 'plain'])).toEqual([undefined, round])
        await two.clear()
        expect(await one.getMany(['tagged', 'plain'])).toEqual([undefined, undefined])
      }
    },
  },
  {
    name: 'what a tag was invalidated for while it was made is returned to who waits for it, and stored for nobody',
    control: 'snapshots-are-of-the-fill',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      // What is stored must not depend on who is told in time.
      world.signals.bus?.delay(2_000)
      const gate = new Gate<string>()
      const made = later(one.getOrSet('key', gate.pass, { tags: ['other', 'tag'] }))
      await world.until('it is being made', () => gate.arrivals === 1)
      await two.invalidateTags(['tag'])
      gate.open('old')
      expect(await made).toBe('old')
      expect(await one.get('key')).toBe(undefined)
      expect(await two.getOrSet('key', () => 'new', { tags: ['other', 'tag'] })).toBe('new')
      expect(await one.get('key')).toBe('new')
    },
  },
  {
    name: 'a tag that nobody knew yet counts too when it is invalidated while its first value is made',
    control: 'snapshots-are-of-the-fill',
    async run(world) {
      const [one, two] = await world.spaces()
      for (const round of range(1, 10)) {
        const [key, tag] = [`key ${round}`, `tag ${round}`]
        const claim = claimOf(key, { tags: [tag] })
        const reply = await one.claim(claim, callMs)
        await two.invalidateTags([tag], callMs)
        const snapshot = reply.status === 'granted' ? reply.snapshot : undefined
        await one.fill(entry(key, 'old', { tags: [tag] }), claim.owner, snapshot, callMs)
        expect(textsOf([await two.get(key, callMs)])).toEqual([undefined])
      }
    },
  },
  {
    name: 'entries with many tags are found, and each tag counts',
    control: 'tags-reach-only-the-first',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      const tags = range(1, 20).map((index) => `tag ${index}`)
      for (const tag of [tags[0], tags[9], tags[19]]) {
        await one.set('key', 'value', { tags })
        expect(await two.get('key')).toBe('value')
        await two.invalidateTags([tag ?? ''])
        expect(await one.get('key')).toBe(undefined)
      }
    },
  },
]
