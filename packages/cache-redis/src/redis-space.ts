import { RedisScript, type RunningCall } from '@multinode/connection-redis'
import {
  type CacheSpace,
  type ClaimReply,
  MultinodeError,
  type NewEntry,
  type Snapshot,
  type SpaceDefinition,
  type StoredEntry,
} from '@multinode/core'
import { CacheKeys } from './cache-keys.ts'
import { type CacheServer, maxBytes, tooLarge, unexpected } from './cache-server.ts'
import { claimLua } from './claim.lua.ts'
import { recordArguments, takenFor, Versions } from './entry-record.ts'
import { EntryReads } from './entry-reads.ts'
import { fillLua } from './fill.lua.ts'
import { asPartial, pipelineAll, scriptCall } from './pipelines.ts'
import { renewLua } from './renew.lua.ts'
import { setLua } from './set.lua.ts'

const claimScript = new RedisScript('claim', claimLua)
const fillScript = new RedisScript('fill', fillLua)
const renewScript = new RedisScript('renew', renewLua)
const setScript = new RedisScript('set', setLua)

type Claim = Parameters<CacheSpace['claim']>[0]
type VersionMap = ReadonlyMap<string, number>

interface Write {
  readonly entry: NewEntry
  readonly keys: readonly [entry: string, lease: string]
  /** The last moment to store it, by the server's clock. */
  readonly untilMs: number
}

/** What the scripts that store answer when nobody waits for it any more. */
const isLate = -1

/**
 * The entries of one namespace: a key each, and one for a lease while somebody makes its value. An entry is valid while the versions of its namespace and its tags are
 * those that it was stored with, which each read looks at. Proven by `test/conformance.integration.test.ts`.
 */
export class RedisSpace implements CacheSpace {
  readonly #server: CacheServer
  readonly #keys: CacheKeys
  readonly #reads: EntryReads

  constructor(server: CacheServer, definition: SpaceDefinition) {
    this.#server = server
    this.#keys = new CacheKeys(server.clusterName, definition)
    this.#reads = new EntryReads(server, this.#keys)
  }

  get(key: string, timeoutMs: number): Promise<StoredEntry | undefined> {
    return this.#reads.get(key, timeoutMs)
  }

  getMany(keys: readonly string[], timeoutMs: number): Promise<(StoredEntry | undefined)[]> {
    return this.#reads.getMany(keys, timeoutMs)
  }

  claim({ key, owner, leaseMs, tags }: Claim, timeoutMs: number): Promise<ClaimReply> {
    const { connection, versions } = this.#server
    const keys = this.#keys.entryAndLease(key)
    return connection.run('claim', timeoutMs, async () => {
      const writing = versions.forWriting(this.#versionKeys(tags))
      const [[reply], made] = await Promise.all([
        pipelineAll(connection, [scriptCall(claimScript, keys, [owner, leaseMs])]),
        writing,
      ])
      const { isGranted, nowMs, bytes } = this.#readClaim(reply)
      const entry = await this.#reads.validIn(bytes, made, nowMs)
      if (entry !== undefined && entry.freshMs > 0) {
        // It ends by itself, too.
        if (isGranted) this.release(key, owner, timeoutMs).catch(() => {})
        return { status: 'fresh', entry }
      }
      if (!isGranted) return { status: 'busy', stale: entry }
      const snapshot: Snapshot = this.#versionsOf(tags, made)
      return { status: 'granted', snapshot, stale: entry }
    })
  }

  async renew(key: string, owner: string, leaseMs: number, timeoutMs: number): Promise<boolean> {
    const [, lease] = this.#keys.entryAndLease(key)
    const { connection } = this.#server
    return (await connection.script(renewScript, [lease], [owner, leaseMs], timeoutMs)) === 1
  }

  async fill(
    entry: NewEntry,
    owner: string,
    snapshot: Snapshot,
    timeoutMs: number,
  ): Promise<'stored' | 'refused'> {
    checkSize(entry)
    const { connection, clocks } = this.#server
    const keys = this.#keys.entryAndLease(entry.key)
    const untilMs = clocks.deadline(keys[0], timeoutMs)
    const args = [...recordArguments(entry, takenFor(entry, snapshot), untilMs), owner]
    const reply = await connection.script(fillScript, keys, args, timeoutMs)
    if (reply === 1) return 'stored'
    if (reply === 0) return 'refused'
    if (reply === isLate) throw this.#late(keys[0])
    throw unexpected(connection.address, fillScript, reply)
  }

  async release(key: string, owner: string, timeoutMs: number): Promise<void> {
    await this.renew(key, owner, 0, timeoutMs)
  }

  async set(entries: readonly NewEntry[], timeoutMs: number): Promise<void> {
    for (const entry of entries) checkSize(entry)
    if (entries.length === 0) return
    const { connection, versions } = this.#server
    const keys = this.#versionKeys([...new Set(entries.flatMap(({ tags }) => tags))])
    const writes = entries.map((entry) => this.#writeOf(entry, timeoutMs))
    await connection.run('set', timeoutMs, async (call) => {
      // Seldom wrong, and then all are stored again before anybody is told that they are.
      const guess = versions.guess(keys)
      const writing = versions.forWriting(keys)
      if (guess === undefined) return this.#store(writes, await writing, call)
      const [made] = await Promise.all([writing, this.#store(writes, guess, call)])
      const isRight = keys.every((key) => made.get(key) === guess.get(key))
      if (isRight) return
      await this.#store(writes, made, call).catch((error: unknown) => {
        throw asPartial(error, connection.address)
      })
    })
  }

  async delete(keys: readonly string[], timeoutMs: number): Promise<void> {
    if (keys.length === 0) return
    const { connection } = this.#server
    const all = keys.map((key) => this.#keys.entryAndLease(key))
    // Late ones do no harm, here and below: they make invalid, and nothing else.
    await connection.run('UNLINK', timeoutMs, (): Promise<unknown> => {
      if (!('nodes' in connection.client)) return connection.client.unlink(all.flat())
      return pipelineAll(
        connection,
        all.map((pair) => ({ key: pair[0], words: ['unlink', ...pair] })),
      )
    })
  }

  async invalidateTags(tags: readonly string[], timeoutMs: number): Promise<void> {
    const keys = tags.map((tag) => this.#keys.tag(tag))
    await this.#server.connection.run('invalidate', timeoutMs, () => this.#server.versions.bump(keys))
  }

  async clear(timeoutMs: number): Promise<void> {
    const { connection, versions } = this.#server
    await connection.run('clear', timeoutMs, () => versions.bump([this.#keys.version]))
  }

  #writeOf(entry: NewEntry, timeoutMs: number): Write {
    const keys = this.#keys.entryAndLease(entry.key)
    return { entry, keys, untilMs: this.#server.clocks.deadline(keys[0], timeoutMs) }
  }

  async #store(writes: readonly Write[], versions: VersionMap, call: RunningCall): Promise<void> {
    if (call.isOver) return
    const calls = writes.map(({ entry, keys, untilMs }) =>
      scriptCall(setScript, keys, recordArguments(entry, this.#versionsOf(entry.tags, versions), untilMs)),
    )
    const replies = await pipelineAll(this.#server.connection, calls, call)
    const late = writes.filter((_, index) => replies[index] === isLate)
    const errors = late.map(({ keys: [key] }) => this.#late(key))
    const [error] = errors
    if (error === undefined) return
    throw writes.length === 1 ? error : asPartial(error, this.#server.connection.address)
  }

  #late(key: string): MultinodeError {
    const { connection, clocks } = this.#server
    clocks.forget(key)
    return new MultinodeError(
      'TIMEOUT',
      `Redis at ${connection.address}: a value came to the server after the time of its call, and was not stored.`,
      { capability: 'cache', backend: 'redis', outcome: 'not-sent' },
    )
  }

  #readClaim(reply: unknown): { isGranted: boolean; nowMs: number; bytes: Buffer | null } {
    const [granted, now, bytes] = Array.isArray(reply) ? reply : []
    const nowMs = Number(String(now))
    if ((granted !== 0 && granted !== 1) || !Number.isFinite(nowMs)) {
      throw unexpected(this.#server.connection.address, claimScript, reply)
    }
    return { isGranted: granted === 1, nowMs, bytes: Buffer.isBuffer(bytes) ? bytes : null }
  }

  #versionKeys(tags: readonly string[]): string[] {
    return [this.#keys.version, ...tags.map((tag) => this.#keys.tag(tag))]
  }

  #versionsOf(tags: readonly string[], versions: VersionMap): Versions {
    const ofTags = tags.map((tag) => [tag, versions.get(this.#keys.tag(tag)) ?? 0] as const)
    return new Versions(versions.get(this.#keys.version) ?? 0, new Map(ofTags))
  }
}

function checkSize({ key, data }: NewEntry): void {
  if (data.length > maxBytes) throw tooLarge(`The value of ${JSON.stringify(key)}`, data.length)
}
