import is from '@sindresorhus/is'
import { MultinodeError } from '../errors/multinode-error.ts'

/**
 * On the wire: a version byte, a header as JSON on one line, and the payload, as JSON or as it is. Readers ignore fields that they do not know, so that two
 * versions of an app can share a backend; a version that they do not know is reported and left out.
 */
const version = 1
const newline = 10

export interface Envelope {
  readonly nodeId: string
  readonly key: string | undefined
  /** The nodes that it is for; all when it is not set. */
  readonly to: readonly string[] | undefined
  /** How many signals the publisher dropped before this one; such an envelope has no payload. */
  readonly lost: number | undefined
  readonly payload: unknown
}

interface Header {
  readonly n: string
  readonly k?: string
  readonly to?: readonly string[]
  readonly lost?: number
  /** The payload is bytes. */
  readonly b?: 1
}

export function encode(envelope: Envelope): Uint8Array {
  const { nodeId, key, to, lost, payload } = envelope
  const isBytes = payload instanceof Uint8Array
  const header: Header = {
    n: nodeId,
    ...(key === undefined ? {} : { k: key }),
    ...(to === undefined ? {} : { to }),
    ...(lost === undefined ? {} : { lost }),
    ...(isBytes ? { b: 1 } : {}),
  }
  const head = Buffer.from(`${String.fromCodePoint(version)}${JSON.stringify(header)}\n`)
  return Buffer.concat([head, isBytes ? payload : Buffer.from(toJson(payload))])
}

/** @throws `REJECTED` for what no version of this library wrote, or a later one */
export function decode(data: Uint8Array): Envelope {
  const end = data.indexOf(newline)
  if (data[0] !== version || end === -1) {
    throw new MultinodeError(
      'REJECTED',
      `A signal has the format version ${data[0]}, this library reads ${version}.`,
      {
        capability: 'pubsub',
      },
    )
  }
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const header: unknown = JSON.parse(bytes.toString('utf8', 1, end))
  const read = (name: string): unknown => (is.plainObject(header) ? header[name] : undefined)
  const [nodeId, key, to, lost] = [read('n'), read('k'), read('to'), read('lost')]
  const body = bytes.subarray(end + 1)
  return {
    nodeId: is.string(nodeId) ? nodeId : '',
    key: is.string(key) ? key : undefined,
    to: is.array(to, is.string) ? to : undefined,
    lost: is.number(lost) ? lost : undefined,
    // A copy: what the driver received is larger and must not live as long as the payload.
    payload: read('b') === 1 ? new Uint8Array(body) : fromJson(body.toString('utf8')),
  }
}

/** What has no JSON form is an error, and not silently `null` or left out as a whole. */
function toJson(payload: unknown): string {
  if (payload === undefined) return ''
  try {
    const text: unknown = JSON.stringify(payload)
    if (is.string(text)) return text
  } catch (error) {
    throw notJson(error)
  }
  throw notJson(undefined)
}

function fromJson(text: string): unknown {
  return text === '' ? undefined : JSON.parse(text)
}

function notJson(cause: unknown): MultinodeError {
  return new MultinodeError(
    'INVALID_ARGUMENT',
    'The payload has no JSON form: pass what JSON.stringify takes, or bytes (Uint8Array).',
    { capability: 'pubsub', cause },
  )
}
