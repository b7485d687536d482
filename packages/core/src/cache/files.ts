import { hash } from 'node:crypto'
import is from '@sindresorhus/is'
import { MultinodeError } from '../errors/multinode-error.ts'
import { unsupported } from '../errors/unsupported.ts'
import { checkKey, checkKnownOptions, checkMs, checkString } from '../runtime/check.ts'
import type { CacheBackend } from './backend.ts'
import type { FileDriver } from './cache-driver.ts'
import { longestKeptMs } from './counter.ts'

export interface DeleteFileOptions {
  /** How long the backend may take, in ms. Default: the cluster's `callTimeoutMs`. */
  readonly timeoutMs?: number
}

export interface PutFileOptions {
  /** As in HTTP: `text/css; charset=utf-8`. */
  readonly contentType: string
  /** How long it is kept, from 1 ms to a year. Default: until it is deleted. */
  readonly ttlMs?: number
  /** How long the backend may take, in ms. Default: the cluster's `callTimeoutMs`. */
  readonly timeoutMs?: number
}

export interface GetFileOptions {
  /** The header `If-None-Match` of a request, as it came; one that is malformed is passed over. */
  readonly ifNoneMatch?: string | undefined
  /** How long the backend may take, in ms. Default: the cluster's `callTimeoutMs`. */
  readonly timeoutMs?: number
}

export type FileReply =
  | {
      readonly status: 'found'
      readonly bytes: Buffer
      readonly etag: string
      readonly contentType: string
    }
  | { readonly status: 'unchanged'; readonly etag: string }

const mostBytes = 8 * 1_048_576

/** RFC 9110, 8.3.1: nothing that could end a header. */
const contentTypeForm = (() => {
  const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
  const quoted = String.raw`"(?:[\t !#-\[\]-~]|\\[\t -~])*"`
  return new RegExp(String.raw`^${token}/${token}(?:[ \t]*;[ \t]*${token}=(?:${token}|${quoted}))*$`)
})()

/** One of the list of an `If-None-Match`, of the form that ours have: others cannot match, and a request may name thousands. */
const ourEtag = /(?:^|[\s,]|W\/)("[0-9a-f]{64}")(?=$|[\s,])/g

/**
 * Files that one node makes and all can serve, up to 8 MiB each. Every call settles within its `timeoutMs`, plus a twentieth; while the
 * backend is away it rejects with `UNAVAILABLE` or `TIMEOUT`, at once when that is known already. One round trip each.
 */
export class Files {
  readonly #backend: CacheBackend

  constructor(backend: CacheBackend) {
    this.#backend = backend
  }

  /**
   * Replaces what is there.
   *
   * @param name 1 to 1,024 characters of any kind
   * @returns the etag as HTTP wants it, in quotes: the SHA-256 of the bytes
   * @throws `TOO_LARGE` above 8 MiB
   */
  async put(name: string, bytes: Uint8Array, options: PutFileOptions): Promise<{ readonly etag: string }> {
    checkKey('name', name)
    checkKnownOptions('put', options, ['contentType', 'ttlMs', 'timeoutMs'])
    const { contentType, ttlMs } = options
    checkBytes(name, bytes)
    checkContentType(contentType)
    if (ttlMs !== undefined) checkMs('ttlMs', ttlMs, { min: 1, max: longestKeptMs })
    // A copy, so that the etag is that of what is sent, whatever the caller does meanwhile.
    const copy = Buffer.from(bytes)
    const etag = `"${hash('sha256', copy, 'hex')}"`
    await this.#call('put', name, options, (files, timeoutMs) =>
      files.put(name, { bytes: copy, etag, contentType }, ttlMs, timeoutMs),
    )
    return { etag }
  }

  /**
   * `unchanged`: the client has it already, answer 304 with this etag.
   *
   * @returns undefined when there is none
   */
  async get(name: string, options: GetFileOptions = {}): Promise<FileReply | undefined> {
    checkKey('name', name)
    checkKnownOptions('get', options, ['ifNoneMatch', 'timeoutMs'])
    const { ifNoneMatch } = options
    if (ifNoneMatch !== undefined) checkString('ifNoneMatch', ifNoneMatch)
    const known = ifNoneMatch === undefined ? [] : etagsOf(ifNoneMatch)
    const file = await this.#call('get', name, options, (files, timeoutMs) =>
      files.get(name, known, timeoutMs),
    )
    if (file === undefined) return undefined
    if ('unchanged' in file) return { status: 'unchanged', etag: file.unchanged }
    const { bytes, etag, contentType } = file
    // Any version will do. Rare, so the bytes that come with it do not matter.
    if (ifNoneMatch?.trim() === '*') return { status: 'unchanged', etag }
    return { status: 'found', bytes, etag, contentType }
  }

  async delete(name: string, options: DeleteFileOptions = {}): Promise<void> {
    checkKey('name', name)
    checkKnownOptions('delete', options, ['timeoutMs'])
    await this.#call('delete', name, options, (files, timeoutMs) => files.delete(name, timeoutMs))
  }

  #call<T>(
    operation: string,
    name: string,
    options: DeleteFileOptions,
    work: (files: FileDriver, timeoutMs: number) => Promise<T>,
  ): Promise<T> {
    const { driver, context } = this.#backend
    const { files } = driver
    const timeoutMs = checkMs('timeoutMs', options.timeoutMs ?? context.callTimeoutMs, { min: 1 })
    if (files === undefined) throw unsupported(context, 'files')
    return this.#backend.call(`${operation} of the file ${JSON.stringify(name)}`, timeoutMs, (ms) =>
      work(files, ms),
    )
  }
}

/** Weak ones too: for `If-None-Match` they are compared by what is in quotes. */
function etagsOf(header: string): string[] {
  return [...header.matchAll(ourEtag)].flatMap(([, etag]) => etag ?? [])
}

function checkBytes(name: string, bytes: unknown): void {
  if (!(bytes instanceof Uint8Array)) {
    throw invalid('bytes', `bytes is of type ${is(bytes)}; it must be a Buffer or Uint8Array.`)
  }
  if (bytes.byteLength <= mostBytes) return
  throw new MultinodeError(
    'TOO_LARGE',
    `cache: the file ${JSON.stringify(name)} has ${bytes.byteLength} bytes, and ${mostBytes} are allowed: keep it where files are kept, and share its address.`,
    {
      capability: 'cache',
      outcome: 'not-sent',
      details: { name, bytes: bytes.byteLength, mostBytes },
    },
  )
}

function checkContentType(contentType: unknown): void {
  if (is.string(contentType) && contentType.length <= 255 && contentTypeForm.test(contentType)) return
  const shown = is.string(contentType)
    ? JSON.stringify(contentType.slice(0, 80))
    : `of type ${is(contentType)}`
  throw invalid(
    'contentType',
    `contentType is ${shown}; it must be one of HTTP, such as text/css; charset=utf-8.`,
  )
}

function invalid(name: string, message: string): MultinodeError {
  return new MultinodeError('INVALID_ARGUMENT', message, { capability: 'cache', details: { name } })
}
