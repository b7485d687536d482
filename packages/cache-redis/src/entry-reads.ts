import type { StoredEntry } from '@multinode/core'
import type { CacheKeys } from './cache-keys.ts'
import type { CacheServer } from './cache-server.ts'
import { type EntryRecord, toStored, unpackRecord } from './entry-record.ts'
import { GatheredReads } from './gathered-reads.ts'
import { type KeyedCommand, pipelineAll } from './pipelines.ts'
import { toVersion } from './versions.ts'

type VersionMap = ReadonlyMap<string, number>

/** Records as they are stored, and the version of their namespace, which was read after the call began. */
interface Found {
  readonly records: readonly (Buffer | null)[]
  readonly version: number | undefined
}

/**
 * Reads of one namespace: of what is stored only what is valid, by versions that were looked at after the caller asked. What was invalidated before a call
 * is never returned by it.
 */
export class EntryReads {
  readonly #server: CacheServer
  readonly #keys: CacheKeys
  readonly #gathered: GatheredReads

  constructor(server: CacheServer, keys: CacheKeys) {
    this.#server = server
    this.#keys = keys
    this.#gathered = new GatheredReads((all, timeoutMs) => this.getMany(all, timeoutMs))
  }

  get(key: string, timeoutMs: number): Promise<StoredEntry | undefined> {
    // Of a Cluster one master may be away, which is nothing to those who read from the others.
    if ('nodes' in this.#server.connection.client) return this.#getFromCluster(key, timeoutMs)
    return this.#gathered.want(key, timeoutMs)
  }

  getMany(keys: readonly string[], timeoutMs: number): Promise<(StoredEntry | undefined)[]> {
    const { connection, clocks, versions } = this.#server
    const entries = keys.map((key) => this.#keys.entry(key))
    return connection.run('MGET', timeoutMs, async () => {
      const { records, version } = await this.#readAll(entries)
      const current = records.map((bytes) => ofVersion(version, bytes))
      const tagKeys = this.#tagKeys(current)
      const tags = tagKeys.length === 0 ? noVersions : await versions.current(tagKeys)
      return current.map((record, index) =>
        this.#hasItsTags(record, tags) ? toStored(record, clocks.nowMs(entries[index] ?? '')) : undefined,
      )
    })
  }

  /** The entry of this record, if it is valid. One more round trip when it has tags that are not known yet. */
  async validIn(bytes: Buffer | null, known: VersionMap, nowMs: number): Promise<StoredEntry | undefined> {
    const record = ofVersion(known.get(this.#keys.version), bytes)
    const missing = this.#tagKeys([record]).filter((key) => !known.has(key))
    const more = missing.length === 0 ? [] : await this.#server.versions.current(missing)
    return this.#hasItsTags(record, new Map([...known, ...more])) ? toStored(record, nowMs) : undefined
  }

  #getFromCluster(key: string, timeoutMs: number): Promise<StoredEntry | undefined> {
    const { connection, clocks, versions } = this.#server
    const entry = this.#keys.entry(key)
    return connection.run('GET', timeoutMs, async () => {
      // Asked for first, so that it leaves together with the read.
      const current = versions.current([this.#keys.version])
      const [bytes, found] = await Promise.all([
        connection.client.getBuffer(entry),
        current,
        clocks.ready(entry),
      ])
      const record = ofVersion(found.get(this.#keys.version), bytes)
      const tagKeys = this.#tagKeys([record])
      const tags = tagKeys.length === 0 ? noVersions : await versions.current(tagKeys)
      return this.#hasItsTags(record, tags) ? toStored(record, clocks.nowMs(entry)) : undefined
    })
  }

  #readAll(entries: readonly string[]): Promise<Found> {
    const { client } = this.#server.connection
    return 'nodes' in client ? this.#readFromCluster(entries) : this.#readFromOne(client, entries)
  }

  /** One command: all is as it was at one moment. */
  async #readFromOne(client: Mget, entries: readonly string[]): Promise<Found> {
    const reading = client.mgetBuffer([...entries, this.#keys.version])
    const ready = this.#server.clocks.ready(this.#keys.version)
    const records = ready === undefined ? await reading : (await Promise.all([reading, ready]))[0]
    return { version: toVersion(records.pop()), records }
  }

  /** One pipeline for each master. */
  async #readFromCluster(entries: readonly string[]): Promise<Found> {
    const { connection, clocks, versions } = this.#server
    const gets = entries.map((key): KeyedCommand => ({ key, words: ['get', key] }))
    const [found, replies] = await Promise.all([
      versions.current([this.#keys.version]),
      pipelineAll(connection, gets),
      ...entries.map((entry) => clocks.ready(entry)),
    ])
    const records = replies.map((reply) => (Buffer.isBuffer(reply) ? reply : null))
    return { records, version: found.get(this.#keys.version) }
  }

  #hasItsTags(record: EntryRecord | undefined, versions: VersionMap): record is EntryRecord {
    if (record === undefined) return false
    for (const [tag, version] of record.versions.tags) {
      if (versions.get(this.#keys.tag(tag)) !== version) return false
    }
    return true
  }

  #tagKeys(records: readonly (EntryRecord | undefined)[]): string[] {
    const tags = new Set<string>()
    for (const record of records) for (const tag of record?.versions.tags.keys() ?? []) tags.add(tag)
    return [...tags].map((tag) => this.#keys.tag(tag))
  }
}

interface Mget {
  mgetBuffer(keys: string[]): Promise<(Buffer | null)[]>
}

const noVersions: VersionMap = new Map()

function ofVersion(version: number | undefined, bytes: Buffer | null): EntryRecord | undefined {
  const record = unpackRecord(bytes)
  return record?.versions.space === version ? record : undefined
}
