import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import is from '@sindresorhus/is'
import { MultinodeError } from '../errors/multinode-error.ts'
import { reasonOf } from '../errors/to-driver-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { checkFunction, checkName, checkObject } from '../runtime/check.ts'
import { findUnfit } from './plain-data.ts'

/** How an app turns its values into bytes, where JSON is not enough: msgpackr, CBOR, protobuf. */
export interface CacheCodec {
  /** Stored with each value, so that no other codec reads it. `[A-Za-z0-9_.-]{1,32}` */
  readonly name: string
  encode(value: unknown): Uint8Array
  /** @param bytes only for this call: what is kept of them has to be copied */
  decode(bytes: Uint8Array): unknown
}

export interface ValueCodecParts {
  /** For errors. */
  readonly namespace: string
  readonly codec: 'json' | CacheCodec
  /** Values of so many bytes or more are deflated where that makes them smaller. */
  readonly compressFromBytes: number | undefined
  /** The largest value, encoded, that the backend takes. */
  readonly maxBytes: number
  readonly context: CapabilityContext
}

/** The first byte: the format in the upper half, below it the kind, and whether the rest is deflated. */
const format = 0x10
const compressed = 0x08
const kinds = { json: 0, buffer: 1, bytes: 2, custom: 3 } as const

const jsonHeader = String.fromCharCode(format | kinds.json)
/** What an entry may grow to: a few bytes that somebody else stored must not fill the memory. */
const maxInflatedBytes = 64 * 1_048_576

/**
 * The values of one namespace as bytes, and back. With `json`: plain data as JSON, a Buffer or Uint8Array at the top as the bytes that it is; what JSON would
 * change without a word (Date, Map, bigint, NaN, ...) is refused, but for a class without methods: its objects come back as plain ones. A codec of the app gets every value.
 */
export class ValueCodec {
  readonly #parts: ValueCodecParts
  /** In front of what the app's codec makes. */
  readonly #customHeader: Buffer
  #hasReported = false

  constructor(parts: ValueCodecParts) {
    this.#parts = parts
    const name = parts.codec === 'json' ? '' : parts.codec.name
    this.#customHeader = Buffer.from([format | kinds.custom, name.length, ...Buffer.from(name)])
  }

  /**
   * @returns bytes that nobody else writes to
   * @throws `INVALID_ARGUMENT` for a value that would not come back as it is, `TOO_LARGE`
   */
  encode(value: unknown): Buffer {
    const plain = this.#encodePlain(value)
    const { compressFromBytes, maxBytes } = this.#parts
    const isWorthIt = compressFromBytes !== undefined && plain.byteLength >= compressFromBytes
    const data = isWorthIt ? deflated(plain) : plain
    if (data.byteLength > maxBytes) throw this.#tooLarge(data.byteLength)
    return data
  }

  /** @returns undefined for what cannot be read, which is reported once: a miss, as `undefined` is never stored */
  decode(data: Buffer): unknown {
    try {
      return this.#decodePlain(inflated(data))
    } catch (error) {
      this.#reportUnreadable(error)
      return undefined
    }
  }

  #encodePlain(value: unknown): Buffer {
    const { codec } = this.#parts
    if (codec !== 'json') return this.#encodeCustom(codec, value)
    if (!(value instanceof Uint8Array)) return this.#encodeJson(value)
    const kind = Buffer.isBuffer(value) ? kinds.buffer : kinds.bytes
    const data = Buffer.allocUnsafe(1 + value.byteLength)
    data[0] = format | kind
    data.set(value, 1)
    return data
  }

  #encodeJson(value: unknown): Buffer {
    let text: string
    let unfit
    try {
      // The header is one byte in UTF-8, too.
      text = jsonHeader + JSON.stringify(value)
      unfit = findUnfit(value)
    } catch (error) {
      throw this.#unfit(`cannot be written as JSON: ${reasonOf(error)}`, error)
    }
    if (unfit === undefined) return Buffer.from(text)
    throw this.#unfit(`has ${unfit.what} at value${unfit.path}, which JSON would change`)
  }

  #encodeCustom(codec: CacheCodec, value: unknown): Buffer {
    let bytes: unknown
    try {
      bytes = codec.encode(value)
    } catch (error) {
      throw this.#unfit(`was refused by the codec ${codec.name}: ${reasonOf(error)}`, error)
    }
    if (bytes instanceof Uint8Array) return Buffer.concat([this.#customHeader, bytes])
    throw this.#unfit(`became of type ${is(bytes)} by the codec ${codec.name}, which must make a Uint8Array`)
  }

  #decodePlain(plain: Buffer): unknown {
    const { codec } = this.#parts
    const header = plain[0]
    if (codec !== 'json') {
      const length = this.#customHeader.byteLength
      if (this.#customHeader.equals(plain.subarray(0, length))) return codec.decode(plain.subarray(length))
      throw new Error(`it was not stored by the codec ${codec.name}`)
    }
    if (header === (format | kinds.json)) return JSON.parse(plain.toString('utf8', 1))
    // Copies, because what was received is often a part of something larger.
    if (header === (format | kinds.buffer)) return Buffer.from(plain.subarray(1))
    if (header === (format | kinds.bytes)) return new Uint8Array(plain.subarray(1))
    throw new Error(`its first byte is ${header}, which this version does not know as JSON or bytes`)
  }

  #unfit(reason: string, cause?: unknown): MultinodeError {
    const { namespace, context } = this.#parts
    return new MultinodeError(
      'INVALID_ARGUMENT',
      `cache: the value for ${namespace} ${reason}. Store plain data, or give the namespace a codec ` +
        "(codec: { name: 'msgpackr', encode: (value) => packr.pack(value), decode: (bytes) => packr.unpack(bytes) }).",
      {
        capability: context.capability,
        backend: context.backend,
        outcome: 'not-sent',
        details: { namespace },
        cause,
      },
    )
  }

  #tooLarge(bytes: number): MultinodeError {
    const { namespace, context, maxBytes } = this.#parts
    const { capability, backend } = context
    return new MultinodeError(
      'TOO_LARGE',
      `cache: the value for ${namespace} has ${bytes} bytes, and ${backend} takes ${maxBytes}: store less, or compress it (compressFromBytes).`,
      { capability, backend, outcome: 'not-sent', details: { namespace, bytes, maxBytes } },
    )
  }

  #reportUnreadable(cause: unknown): void {
    if (this.#hasReported) return
    this.#hasReported = true
    const { namespace, context } = this.#parts
    const { capability, backend, report } = context
    report(
      new MultinodeError(
        'REJECTED',
        `cache: an entry of ${namespace} cannot be read and counts as absent, as all such do: ${reasonOf(cause)}. ` +
          'Give the namespace another version whenever its codec or the shape of its values changes.',
        { capability, backend, details: { namespace }, cause },
      ),
    )
  }
}

/** @throws `INVALID_ARGUMENT` */
export function checkCodec(codec: unknown): 'json' | CacheCodec {
  if (codec === 'json') return codec
  checkObject('codec', codec)
  if (isCodec(codec)) return codec
  throw new MultinodeError('INVALID_ARGUMENT', 'codec must be json or { name, encode, decode }.', {
    capability: 'cache',
    details: { name: 'codec' },
  })
}

function isCodec(codec: unknown): codec is CacheCodec {
  if (!is.object(codec)) return false
  checkName('codec.name', Reflect.get(codec, 'name'), /^[A-Za-z0-9_.-]{1,32}$/)
  checkFunction('codec.encode', Reflect.get(codec, 'encode'))
  checkFunction('codec.decode', Reflect.get(codec, 'decode'))
  return true
}

function deflated(plain: Buffer): Buffer {
  const [header] = plain
  if (header === undefined || plain.byteLength > maxInflatedBytes) return plain
  const body = deflateRawSync(plain.subarray(1), { level: constants.Z_BEST_SPEED })
  if (body.byteLength + 1 >= plain.byteLength) return plain
  return Buffer.concat([Buffer.from([header | compressed]), body])
}

function inflated(data: Buffer): Buffer {
  const [header] = data
  if (header === undefined || (header & compressed) === 0) return data
  const body = inflateRawSync(data.subarray(1), { maxOutputLength: maxInflatedBytes })
  return Buffer.concat([Buffer.from([header & ~compressed]), body])
}
