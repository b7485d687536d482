import { type RedisClient, type RedisConnection, RedisScript, slotPrefix } from '@multinode/connection-redis'
import {
  type AcquireReply,
  type AcquireRequest,
  type ExtendReply,
  type LockDriver,
  type LockFeatures,
  MultinodeError,
  type ReleaseReply,
  type Share,
} from '@multinode/core'
import { acquireLua } from './acquire.lua.ts'
import { cancelLua } from './cancel.lua.ts'
import { extendLua } from './extend.lua.ts'
import { releaseLua } from './release.lua.ts'

const acquireScript = new RedisScript('acquire', acquireLua)
const extendScript = new RedisScript('extend', extendLua)
const releaseScript = new RedisScript('release', releaseLua)
const cancelScript = new RedisScript('cancel', cancelLua)

/** How long a cancelled owner is refused: longer than any of its requests can still be on its way. */
const tombstoneMs = 60_000

/**
 * Locks on one Redis server: at most one unexpired lease per key by the server's clock, whose grants carry growing
 * tokens. Every verb is one script, so one atomic step and one round trip. All keys of a lock are in one slot.
 * Proven by `test/conformance.integration.test.ts`.
 */
export class RedisLock implements LockDriver {
  readonly features: LockFeatures = { scope: 'cluster', order: 'none' }
  readonly address: string
  /** The ioredis client underneath; shared with the other adapters of this cluster object on the same address. */
  readonly native: RedisClient
  readonly #share: Share<RedisConnection>
  readonly #clusterName: string

  constructor(share: Share<RedisConnection>, clusterName: string) {
    this.address = share.connection.address
    this.native = share.connection.client
    this.#share = share
    this.#clusterName = clusterName
  }

  async acquire({ key, owner, ttlMs }: AcquireRequest, timeoutMs: number): Promise<AcquireReply> {
    const keys = [this.#leaseKey(key), this.#tokenKey(key), this.#tombstoneKey(key, owner)]
    const reply = await this.#run(acquireScript, keys, [owner, ttlMs], timeoutMs)
    const [status, value] = Array.isArray(reply) ? reply : []
    if (status === 1 && Number.isSafeInteger(value)) return { status: 'granted', token: value }
    // A negative one would mean a lease that never ends: not ours.
    if (status === 0 && Number.isSafeInteger(value) && value >= 0) {
      return { status: 'busy', retryAfterMs: Math.max(1, value) }
    }
    if (status === -1) return { status: 'cancelled' }
    throw this.#unexpected('acquire', reply)
  }

  async extend(key: string, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply> {
    const reply = await this.#run(extendScript, [this.#leaseKey(key)], [owner, ttlMs], timeoutMs)
    return this.#found(reply, 'extended', 'extend')
  }

  async release(key: string, owner: string, timeoutMs: number): Promise<ReleaseReply> {
    const reply = await this.#run(releaseScript, [this.#leaseKey(key)], [owner], timeoutMs)
    return this.#found(reply, 'released', 'release')
  }

  async cancel(key: string, owner: string, timeoutMs: number): Promise<void> {
    const keys = [this.#leaseKey(key), this.#tombstoneKey(key, owner)]
    await this.#run(cancelScript, keys, [owner, tombstoneMs], timeoutMs)
  }

  ping(timeoutMs: number): Promise<void> {
    return this.#share.connection.ping(timeoutMs)
  }

  close(): Promise<void> {
    return this.#share.release()
  }

  #run(
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    timeoutMs: number,
  ): Promise<unknown> {
    return this.#share.connection.script(script, keys, args, timeoutMs)
  }

  #found<T extends string>(reply: unknown, done: T, operation: string): T | 'expired' | 'not-owner' {
    if (reply === 1) return done
    if (reply === 0) return 'expired'
    if (reply === -1) return 'not-owner'
    throw this.#unexpected(operation, reply)
  }

  #unexpected(operation: string, reply: unknown): MultinodeError {
    return new MultinodeError(
      'INTERNAL',
      `Redis at ${this.address}: the script ${operation} answered ${JSON.stringify(reply)}, which it never does: ` +
        'something else writes to keys of this cluster, or the server is no Redis.',
      { capability: 'lock', backend: 'redis' },
    )
  }

  #leaseKey(key: string): string {
    return `${this.#prefix(key)}:lease`
  }

  #tokenKey(key: string): string {
    return `${this.#prefix(key)}:token`
  }

  #tombstoneKey(key: string, owner: string): string {
    return `${this.#prefix(key)}:cancelled:${owner}`
  }

  #prefix(key: string): string {
    return slotPrefix(this.#clusterName, 'lock', key)
  }
}
