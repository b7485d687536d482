import is from '@sindresorhus/is'
import { MultinodeError } from '../errors/multinode-error.ts'
import {
  checkArray,
  checkBoolean,
  checkCount,
  checkKey,
  checkKnownOptions,
  checkMs,
  checkName,
} from '../runtime/check.ts'
import { type CacheCodec, checkCodec } from './value-codec.ts'

/** What is kept in this process, in front of the backend. */
export interface LocalCacheOptions {
  /** How many values. Default 10,000; the least recently used go first. */
  readonly maxItems?: number
  /** How many bytes, encoded. Default: not counted. */
  readonly maxBytes?: number
  /** Larger values, encoded, are not kept here. Default: those of `maxBytes`, else any. */
  readonly maxItemBytes?: number
  /** How long at most. Default: as long as the value is fresh. */
  readonly ttlMs?: number
}

export interface NamespaceOptions {
  /** How long a value is fresh, in ms. At most 30 days, `graceMs` included. */
  readonly ttlMs: number
  /** How long a value is kept after that, for when a new one cannot be had in time. Default 0. */
  readonly graceMs?: number
  /** Spreads `ttlMs` by this part of it in both directions, so that what was stored together does not expire together. From 0 to 0.5. Default 0. */
  readonly jitter?: number
  /** What is kept in this process; `false`: nothing. Without signals from the other nodes nothing is kept unless its `ttlMs` is given. */
  readonly l1?: LocalCacheOptions | false
  /** How values become bytes. Default `json`, with a Buffer or Uint8Array as the bytes that it is. */
  readonly codec?: 'json' | CacheCodec
  /** Compresses values of so many bytes or more, encoded; 1,024 is a good value. Default: none. */
  readonly compressFromBytes?: number
  /** Of the shape of the values: another version is another namespace, so that two releases of an app never read each other's. Default ''. */
  readonly version?: string
  /** How long the backend may take for one call. Default 250. */
  readonly timeoutMs?: number
  /** How long other nodes wait for a node that died while it made a value. Renewed while it is alive. Default 10,000. */
  readonly leaseMs?: number
  /** How long this node waits for a value that another one makes; then it makes one itself, which is not stored. Default `leaseMs` and 5 s. */
  readonly lockTimeoutMs?: number
  /** Whether a backend that is away is an error for every call, instead of a miss or `deferred`. Default false. */
  readonly strict?: boolean
}

/** For what is stored by one call. What is not said is as the namespace says. */
export interface EntryOptions {
  readonly ttlMs?: number
  readonly graceMs?: number
}

export interface SetOptions extends EntryOptions {
  /** Names by which it can be invalidated together with others; at most 64. */
  readonly tags?: readonly string[]
}

export interface GetOrSetOptions extends SetOptions {
  /** When there is a stale value, how long to wait for a new one; it is made all the same. 0: the stale one at once. Default: until it is made, or fails. */
  readonly softTimeoutMs?: number
  /** How long the call may take: then its factory is aborted, and it resolves with the stale value or rejects with `TIMEOUT`. Default: as long as the factory takes. */
  readonly hardTimeoutMs?: number
  /** The `ttlMs` of `null`, without grace. Default: like every other value. */
  readonly negativeTtlMs?: number
}

export interface LocalSettings {
  readonly maxItems: number
  readonly maxBytes: number | undefined
  readonly maxItemBytes: number | undefined
  readonly ttlMs: number | undefined
}

export interface NamespaceSettings {
  readonly ttlMs: number
  readonly graceMs: number
  readonly jitter: number
  readonly l1: LocalSettings | undefined
  readonly codec: 'json' | CacheCodec
  readonly compressFromBytes: number | undefined
  readonly version: string
  readonly timeoutMs: number
  readonly leaseMs: number
  readonly lockTimeoutMs: number
  readonly isStrict: boolean
}

export interface EntrySettings {
  readonly ttlMs: number
  readonly graceMs: number
  readonly tags: readonly string[]
}

export interface LoadSettings extends EntrySettings {
  readonly softTimeoutMs: number | undefined
  readonly hardTimeoutMs: number | undefined
  readonly negativeTtlMs: number | undefined
}

const longestMs = 30 * 24 * 3_600_000
const mostTags = 64
const mostKeyBytes = 10_240
/** So many characters have no more bytes than that, whatever they are. */
const shortKey = Math.floor(mostKeyBytes / 3)
const loneSurrogate = /\p{Surrogate}/u

const namespaceNames: readonly (keyof NamespaceOptions)[] = [
  'ttlMs',
  'graceMs',
  'jitter',
  'l1',
  'codec',
  'compressFromBytes',
  'version',
  'timeoutMs',
  'leaseMs',
  'lockTimeoutMs',
  'strict',
]
const localNames: readonly (keyof LocalCacheOptions)[] = ['maxItems', 'maxBytes', 'maxItemBytes', 'ttlMs']
const entryNames: readonly (keyof EntryOptions)[] = ['ttlMs', 'graceMs']
const setNames: readonly (keyof SetOptions)[] = [...entryNames, 'tags']
const loadNames: readonly (keyof GetOrSetOptions)[] = [
  ...setNames,
  'softTimeoutMs',
  'hardTimeoutMs',
  'negativeTtlMs',
]

export function readNamespaceOptions(options: NamespaceOptions): NamespaceSettings {
  checkKnownOptions('namespace', options, namespaceNames)
  const leaseMs = checkMs('leaseMs', options.leaseMs ?? 10_000, { min: 100, max: 3_600_000 })
  const { compressFromBytes } = options
  return {
    ...checkedTimes(
      checkMs('ttlMs', options.ttlMs, { min: 1 }),
      checkMs('graceMs', options.graceMs ?? 0, { min: 0 }),
    ),
    jitter: checkJitter(options.jitter ?? 0),
    l1: options.l1 === false ? undefined : readLocal(options.l1 ?? {}),
    codec: checkCodec(options.codec ?? 'json'),
    compressFromBytes:
      compressFromBytes === undefined ? undefined : checkBytes('compressFromBytes', compressFromBytes),
    version: checkName('version', options.version ?? '', /^[A-Za-z0-9_.-]{0,64}$/),
    timeoutMs: checkMs('timeoutMs', options.timeoutMs ?? 250, { min: 1, max: 30_000 }),
    leaseMs,
    lockTimeoutMs: checkMs('lockTimeoutMs', options.lockTimeoutMs ?? leaseMs + 5_000, { min: 0 }),
    isStrict: checkBoolean('strict', options.strict ?? false),
  }
}

export function readSetOptions(options: SetOptions, namespace: NamespaceSettings): EntrySettings {
  checkKnownOptions('set', options, setNames)
  return readEntry(options, namespace)
}

/** What is stored when nothing else is said; the same object for all calls. */
export function readLoadOptions(options: GetOrSetOptions, namespace: NamespaceSettings): LoadSettings {
  checkKnownOptions('getOrSet', options, loadNames)
  const { softTimeoutMs, hardTimeoutMs, negativeTtlMs } = options
  return {
    ...readEntry(options, namespace),
    softTimeoutMs:
      softTimeoutMs === undefined ? undefined : checkMs('softTimeoutMs', softTimeoutMs, { min: 0 }),
    hardTimeoutMs:
      hardTimeoutMs === undefined ? undefined : checkMs('hardTimeoutMs', hardTimeoutMs, { min: 1 }),
    negativeTtlMs:
      negativeTtlMs === undefined
        ? undefined
        : checkMs('negativeTtlMs', negativeTtlMs, { min: 1, max: longestMs }),
  }
}

/** What a factory says of its value. */
export function readFactoryOptions(
  options: EntryOptions,
  otherwise: { ttlMs: number; graceMs: number },
): { readonly ttlMs: number; readonly graceMs: number } {
  checkKnownOptions('setOptions', options, entryNames)
  return readEntryTimes(options, otherwise)
}

function readEntryTimes(
  options: EntryOptions,
  otherwise: EntryOptions & { ttlMs: number; graceMs: number },
): { readonly ttlMs: number; readonly graceMs: number } {
  const { ttlMs, graceMs } = options
  if (ttlMs === undefined && graceMs === undefined) return otherwise
  return checkedTimes(
    ttlMs === undefined ? otherwise.ttlMs : checkMs('ttlMs', ttlMs, { min: 1 }),
    graceMs === undefined ? otherwise.graceMs : checkMs('graceMs', graceMs, { min: 0 }),
  )
}

/** 1 to 10,240 bytes of well-formed text: what differs is never the same key at a backend. */
export function checkCacheKey(name: string, key: unknown): string {
  const isKey = is.string(key) && key !== '' && !loneSurrogate.test(key)
  if (isKey && (key.length <= shortKey || Buffer.byteLength(key) <= mostKeyBytes)) return key
  const shown = is.string(key) ? JSON.stringify(key.slice(0, 80)) : `of type ${is(key)}`
  throw new MultinodeError(
    'INVALID_ARGUMENT',
    `${name} is ${shown}; it must be well-formed text of 1 to ${mostKeyBytes} bytes.`,
    { capability: 'cache', details: { name } },
  )
}

/** Without repetitions. */
export function checkTags(tags: readonly string[]): readonly string[] {
  checkArray('tags', tags)
  for (const tag of tags) checkKey('tags', tag)
  return tags.length < 2 ? tags : [...new Set(tags)]
}

/** `ttlMs`, shorter or longer at random by up to `jitter` of it. */
export function jittered(ttlMs: number, jitter: number): number {
  if (jitter === 0) return ttlMs
  return Math.min(longestMs, Math.max(1, Math.round(ttlMs * (1 + jitter * (2 * Math.random() - 1)))))
}

function readEntry(options: SetOptions, namespace: NamespaceSettings): EntrySettings {
  const { ttlMs, graceMs } = readEntryTimes(options, namespace)
  const tags = options.tags === undefined ? noTags : checkTags(options.tags)
  checkCount('the number of tags', tags.length, { min: 0, max: mostTags })
  return { ttlMs, graceMs, tags }
}

const noTags: readonly string[] = []

function readLocal(options: LocalCacheOptions): LocalSettings {
  checkKnownOptions('l1', options, localNames)
  const { maxItems, maxBytes, maxItemBytes, ttlMs } = options
  return {
    maxItems: checkCount('l1.maxItems', maxItems ?? 10_000, { min: 1, max: 10_000_000 }),
    maxBytes: maxBytes === undefined ? undefined : checkBytes('l1.maxBytes', maxBytes),
    maxItemBytes: maxItemBytes === undefined ? maxBytes : checkBytes('l1.maxItemBytes', maxItemBytes),
    ttlMs: ttlMs === undefined ? undefined : checkMs('l1.ttlMs', ttlMs, { min: 1 }),
  }
}

function checkBytes(name: string, bytes: number): number {
  return checkCount(name, bytes, { min: 1, max: Number.MAX_SAFE_INTEGER })
}

function checkJitter(jitter: unknown): number {
  if (is.number(jitter) && jitter >= 0 && jitter <= 0.5) return jitter
  throw new MultinodeError('INVALID_ARGUMENT', 'jitter must be a number from 0 to 0.5.', {
    capability: 'cache',
    details: { name: 'jitter' },
  })
}

/** A backend keeps what makes entries invalid for no longer than that. */
function checkedTimes(ttlMs: number, graceMs: number): { readonly ttlMs: number; readonly graceMs: number } {
  if (ttlMs + graceMs <= longestMs) return { ttlMs, graceMs }
  throw new MultinodeError(
    'INVALID_ARGUMENT',
    `ttlMs and graceMs are ${ttlMs + graceMs} ms together; 30 days (${longestMs} ms) are allowed.`,
    { capability: 'cache', details: { name: 'ttlMs' } },
  )
}
