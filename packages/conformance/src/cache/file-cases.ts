import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import { codeOf, range, without } from './caching.ts'

const skip = without('files')
const mebibyte = 1_048_576
const css = { contentType: 'text/css; charset=utf-8' }

/** Files that one node makes and all serve. */
export const fileCases: readonly CacheCase[] = [
  {
    name: 'a file comes back byte for byte on another node, with its content type and an etag of its bytes',
    control: 'files-are-text',
    skip,
    async run(world) {
      const [one, two] = await world.twoNodes()
      const bytes = Buffer.from(range(0, 1_023).map((index) => index % 256))
      const names = ['theme.css', 'Theme.css', 'a/{b} ä.css', 'theme.css ']
      for (const [index, name] of names.entries()) {
        const { etag } = await one.cache.files.put(name, bytes.subarray(index), css)
        const found = await two.cache.files.get(name)
        expect(found).toMatchObject({ status: 'found', etag, contentType: css.contentType })
        if (found?.status === 'found') expect(bytes.subarray(index).equals(found.bytes)).toBe(true)
        const hash = createHash('sha256').update(bytes.subarray(index))
        expect(etag).toContain(hash.digest('hex').slice(0, 16))
      }
      const { etag } = await one.cache.files.put('empty', Buffer.alloc(0), { contentType: 'text/plain' })
      expect(await two.cache.files.get('empty')).toMatchObject({ status: 'found', etag })
      expect(await two.cache.files.get('missing')).toBe(undefined)
    },
  },
  {
    name: 'who has the file already is told that it is unchanged, also when it has others as well',
    control: 'etags-are-ignored',
    skip,
    async run(world) {
      const [one, two] = await world.twoNodes()
      const { files } = two.cache
      const first = await one.cache.files.put('theme.css', Buffer.from('first'), css)
      const unchanged = { status: 'unchanged', etag: first.etag }
      expect(await files.get('theme.css', { ifNoneMatch: first.etag })).toEqual(unchanged)
      const second = await one.cache.files.put('theme.css', Buffer.from('second'), css)
      expect(second.etag).not.toBe(first.etag)
      expect(await files.get('theme.css', { ifNoneMatch: first.etag })).toMatchObject({
        status: 'found',
        etag: second.etag,
        bytes: Buffer.from('second'),
      })
      expect(await files.get('missing', { ifNoneMatch: first.etag })).toBe(undefined)
    },
  },
  {
    name: 'a file that is replaced is the new one for all, and one that is deleted is gone',
    control: 'files-stay',
    skip,
    async run(world) {
      const [one, two] = await world.twoNodes()
      await one.cache.files.put('theme.css', Buffer.from('first'), css)
      const other = { contentType: 'text/plain' }
      const { etag } = await two.cache.files.put('theme.css', Buffer.from('second, and longer'), other)
      expect(await one.cache.files.get('theme.css')).toMatchObject({
        status: 'found',
        etag,
        bytes: Buffer.from('second, and longer'),
        contentType: 'text/plain',
      })
      await one.cache.files.delete('theme.css')
      expect(await two.cache.files.get('theme.css')).toBe(undefined)
      expect(await two.cache.files.get('theme.css', { ifNoneMatch: etag })).toBe(undefined)
      await two.cache.files.delete('theme.css')
    },
  },
  {
    name: 'a file with a time is gone after it, and one without is kept',
    control: 'file-ttl-is-ignored',
    skip,
    async run(world) {
      const [one, two] = await world.twoNodes()
      await one.cache.files.put('short', Buffer.from('bytes'), { ...css, ttlMs: 200 })
      await one.cache.files.put('lasting', Buffer.from('bytes'), { ...css, ttlMs: 50 })
      await one.cache.files.put('lasting', Buffer.from('bytes'), css)
      await world.until('it is gone', async () => (await two.cache.files.get('short')) === undefined)
      expect(await two.cache.files.get('lasting')).toMatchObject({ status: 'found' })
    },
  },
  {
    name: '8 MiB are stored exactly, and a byte more is refused and replaces nothing',
    control: 'long-files-are-cut',
    skip,
    async run(world) {
      const [one, two] = await world.twoNodes()
      const bytes = Buffer.alloc(8 * mebibyte, Buffer.from(range(0, 250)))
      const { etag } = await one.cache.files.put('large', bytes, css)
      const more = Buffer.alloc(8 * mebibyte + 1)
      expect(await codeOf(one.cache.files.put('large', more, css))).toBe('TOO_LARGE')
      const found = await two.cache.files.get('large')
      expect(found?.etag).toBe(etag)
      expect(found?.status === 'found' && bytes.equals(found.bytes)).toBe(true)
    },
  },
]
