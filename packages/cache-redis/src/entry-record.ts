import { MultinodeError, type NewEntry, type Snapshot, type StoredEntry } from '@multinode/core'

/** What the namespace and the tags of an entry were: it is valid as long as all of them still are. */
export class Versions {
  readonly space: number
  readonly tags: ReadonlyMap<string, number>

  constructor(space: number, tags: ReadonlyMap<string, number>) {
    this.space = space
    this.tags = tags
  }
}

/**
 * An entry as it is stored, all numbers big-endian: format (1 byte), fresh until and kept until (ms of the server's time, doubles), then what {@link packVersions}
 * makes, then the data.
 */
export interface EntryRecord {
  readonly versions: Versions
  readonly freshUntilMs: number
  readonly keptUntilMs: number
  readonly data: Buffer
}

const format = 1
/** Before the versions. */
const headBytes = 17

/** The version of the namespace (double), the number of tags (2 bytes), and for each its length (2 bytes), itself, and its version. */
function packVersions({ space, tags }: Versions): Buffer {
  const head = Buffer.allocUnsafe(10)
  head.writeDoubleBE(space, 0)
  head.writeUInt16BE(tags.size, 8)
  return Buffer.concat([head, ...[...tags].map(([tag, version]) => packTag(tag, version))])
}

function packTag(tag: string, version: number): Buffer {
  const length = Buffer.byteLength(tag)
  const bytes = Buffer.allocUnsafe(length + 10)
  bytes.writeUInt16BE(length, 0)
  bytes.write(tag, 2)
  bytes.writeDoubleBE(version, length + 2)
  return bytes
}

/** The same for all entries without any. */
const noTags = new Map<string, number>()

/** @returns undefined for what another version of this package wrote: it is as if it were not there */
export function unpackRecord(bytes: Buffer | null): EntryRecord | undefined {
  if (bytes === null || bytes[0] !== format || bytes.length < headBytes + 10) return undefined
  const tagCount = bytes.readUInt16BE(headBytes + 8)
  const tags = tagCount === 0 ? noTags : new Map<string, number>()
  let at = headBytes + 10
  for (let index = 0; index < tagCount; index += 1) {
    const end = at + 2 + bytes.readUInt16BE(at)
    tags.set(bytes.toString('utf8', at + 2, end), bytes.readDoubleBE(end))
    at = end + 8
  }
  return {
    freshUntilMs: bytes.readDoubleBE(1),
    keptUntilMs: bytes.readDoubleBE(9),
    versions: new Versions(bytes.readDoubleBE(headBytes), tags),
    data: bytes.subarray(at),
  }
}

/** @param nowMs the server's time */
export function toStored(record: EntryRecord, nowMs: number): StoredEntry | undefined {
  const keptMs = record.keptUntilMs - nowMs
  if (keptMs <= 0) return undefined
  return {
    data: record.data,
    freshMs: record.freshUntilMs - nowMs,
    keptMs,
    tags: [...record.versions.tags.keys()],
  }
}

/**
 * The arguments of the scripts that store an entry.
 * @param untilMs by the server's time; Infinity: whenever it comes
 */
export function recordArguments(
  { ttlMs, graceMs, data }: NewEntry,
  versions: Versions,
  untilMs: number,
): (string | number | Buffer)[] {
  return [ttlMs, graceMs, packVersions(versions), data, Number.isFinite(untilMs) ? Math.floor(untilMs) : '']
}

/** @throws `INVALID_ARGUMENT` when it is no snapshot of ours, or was taken without one of the tags */
export function takenFor({ tags }: NewEntry, snapshot: Snapshot): Versions {
  if (snapshot instanceof Versions && tags.every((tag) => snapshot.tags.has(tag))) return snapshot
  throw new MultinodeError(
    'INVALID_ARGUMENT',
    'fill needs the snapshot of its claim, and no tags that were not named there.',
    { capability: 'cache', backend: 'redis', outcome: 'not-sent' },
  )
}
