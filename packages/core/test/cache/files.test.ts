import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CacheBackend } from '../../src/cache/backend.ts'
import type { FileDriver } from '../../src/cache/cache-driver.ts'
import { Files } from '../../src/cache/files.ts'
import { capabilityContext, ManualClock } from '../../src/testing/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, turn, watch } from '../support/outcome.ts'
import { SteeredCache } from './steered-cache.ts'

const css = { contentType: 'text/css; charset=utf-8' }
const bytes = Buffer.from('a { color: red }')
const other = `"${'0'.repeat(64)}"`

let clock: ManualClock
let server: SteeredCache
let backend: CacheBackend
let files: Files

beforeEach(async () => {
  clock = new ManualClock()
  server = await SteeredCache.on(clock)
  backend = new CacheBackend(server.driver, capabilityContext('cache', 'steered', { clock }))
  files = new Files(backend)
})

afterEach(async () => {
  await backend.close()
  await server.driver.close()
})

describe('a file', () => {
  test('comes back as it was, with its type and the etag of its bytes', async () => {
    const { etag } = await files.put('theme.css', new Uint8Array(bytes), css)
    expect(etag).toBe(`"${createHash('sha256').update(bytes).digest('hex')}"`)
    expect(await files.get('theme.css')).toEqual({ status: 'found', bytes, etag, ...css })
    expect(await files.get('missing')).toBeUndefined()
    await files.delete('theme.css')
    expect(await files.get('theme.css')).toBeUndefined()
  })

  test('is what it was when it was put, whatever becomes of the buffers', async () => {
    const mine = Buffer.from('abc')
    const { files: kept } = server.driver
    // As a client that writes at the end of the turn.
    const later = async (...values: Parameters<FileDriver['put']>): Promise<void> => {
      await turn()
      await kept?.put(...values)
    }
    const slow = { ...server.driver, ...(kept && { files: { ...kept, put: later } }) }
    const putting = new Files(new CacheBackend(slow, backend.context)).put('a', mine, css)
    mine.fill(0)
    await putting
    const found = await files.get('a')
    if (found?.status === 'found') found.bytes.fill(0)
    expect(await files.get('a')).toMatchObject({ bytes: Buffer.from('abc') })
  })

  test('is kept for its ttl, or until it is replaced', async () => {
    await files.put('a', bytes, { ...css, ttlMs: 1_000 })
    await files.put('b', bytes, { ...css, ttlMs: 1_000 })
    await files.put('b', Buffer.alloc(0), { contentType: 'text/plain' })
    await clock.advance(1_000)
    expect(await files.get('a')).toBeUndefined()
    expect(await files.get('b')).toMatchObject({ bytes: Buffer.alloc(0), contentType: 'text/plain' })
  })

  test.each([
    ['the etag', (etag: string) => etag],
    ['a weak one', (etag: string) => `W/${etag}`],
    ['a list', (etag: string) => `${other}, "a,b", W/"x",${etag}`],
    ['a list that begins with it', (etag: string) => `${etag} ,  ${other}`],
    ['any', () => ' * '],
  ])('is unchanged for a request that names %s', async (_, header) => {
    const { etag } = await files.put('a', bytes, css)
    expect(await files.get('a', { ifNoneMatch: header(etag) })).toEqual({ status: 'unchanged', etag })
    expect(await files.get('missing', { ifNoneMatch: header(etag) })).toBeUndefined()
  })

  test.each([
    ['another', () => other],
    ['nothing', () => ''],
    ['one without quotes', (etag: string) => etag.slice(1, -1)],
    ['one that is longer', (etag: string) => `"0${etag.slice(1)}`],
    ['one in other quotes', (etag: string) => `"a${etag}b"`],
    ['nonsense', () => '"*", ,,"'],
  ])('is sent to a request that names %s', async (_, header) => {
    const { etag } = await files.put('a', bytes, css)
    expect(await files.get('a', { ifNoneMatch: header(etag) })).toMatchObject({ status: 'found', bytes })
    expect(await files.get('a', { ifNoneMatch: undefined })).toMatchObject({ status: 'found' })
  })

  test('has up to 8 MiB', async () => {
    const large = Buffer.alloc(8 * 1_048_576, 'abc')
    await files.put('a', large, css)
    const tooMuch = await failureOf(() => files.put('a', Buffer.alloc(large.byteLength + 1), css))
    expect(tooMuch).toMatchObject({ code: 'TOO_LARGE', outcome: 'not-sent' })
    const found = await files.get('a')
    expect(found?.status === 'found' && found.bytes.equals(large)).toBe(true)
  })

  test.each([
    'text/plain',
    'image/svg+xml',
    'application/vnd.api+json; charset="utf-8"; a=b',
    'multipart/form-data;boundary="a \\" b"',
  ])('may be of type %s', async (contentType) => {
    await files.put('a', bytes, { contentType })
    expect(await files.get('a')).toMatchObject({ contentType })
  })

  test.each([
    '',
    'text',
    'text/',
    '/css',
    'text/css;',
    'text/css; charset',
    'text/css\r\nset-cookie: a=b',
    'text/css; a="\n"',
    'text/css, text/plain',
    'text/ä',
    `text/${'a'.repeat(300)}`,
  ])('is never of type %j', async (contentType) => {
    const failure = await failureOf(() => files.put('a', bytes, { contentType }))
    expect(failure).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name: 'contentType' } })
    expect(server.calls).toEqual([])
  })

  test.each([
    ['put', ['', bytes, css]],
    ['put', ['a', 'text', css]],
    ['put', ['a', bytes, { ...css, ttlMs: 0 }]],
    ['put', ['a', bytes, { ...css, type: 'text/css' }]],
    ['put', ['a', bytes, {}]],
    ['get', ['']],
    ['put', ['a', bytes, { ...css, timeoutMs: 0 }]],
    ['get', ['a', { ifNoneMatch: 5 }]],
    ['get', ['a', { timeoutMs: 'long' }]],
    ['delete', ['']],
    ['delete', ['a', { timeoutMs: -1 }]],
  ])('is not taken by %s of %j', async (method, args) => {
    expect(await failureOf(() => callUntyped(files, method, args))).toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
    expect(server.calls).toEqual([])
  })

  test('has the time of every call of the cluster, and fails at once while the backend is known to be away', async () => {
    server.outage = 'silent'
    const outcomes = Array.from({ length: 5 }, () => watch(files.get('a')))
    await clock.advance(5_249)
    expect(outcomes[0]?.state).toBe('pending')
    await clock.advance(1)
    for (const outcome of outcomes) expect(outcome.value).toMatchObject({ code: 'TIMEOUT' })
    for (const call of [() => files.get('a'), () => files.put('a', bytes, css), () => files.delete('a')]) {
      expect(await failureOf(call)).toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent' })
    }
  })

  test('has the time that is said', async () => {
    server.outage = 'silent'
    const options = { timeoutMs: 100 }
    const outcomes = [
      watch(files.get('a', options)),
      watch(files.put('a', bytes, { ...css, ...options })),
      watch(files.delete('a', options)),
    ]
    await clock.advance(104)
    expect(outcomes.map(({ state }) => state)).toEqual(['pending', 'pending', 'pending'])
    await clock.advance(1)
    for (const outcome of outcomes) expect(outcome.value).toMatchObject({ code: 'TIMEOUT' })
  })

  test('is not to be had where the backend has none', async () => {
    const { files: _, ...without } = server.driver
    const lacking = new CacheBackend(without, backend.context)
    expect(await failureOf(() => new Files(lacking).get('a'))).toMatchObject({ code: 'UNSUPPORTED' })
    await lacking.close()
  })
})
