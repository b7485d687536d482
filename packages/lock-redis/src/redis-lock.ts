import { type RedisClient, RedisScript } from '@multinode/connection-redis'
import type {
  AcquireReply,
  AcquireRequest,
  ExtendReply,
  JobDriver,
  LockDriver,
  LockFeatures,
  ReleaseReply,
  SharedLockDriver,
} from '@multinode/core'
import { acquireLua } from './acquire.lua.ts'
import { cancelLua } from './cancel.lua.ts'
import { extendLua } from './extend.lua.ts'
import { LockKeys } from './lock-keys.ts'
import { claimMs, type LockServer, tombstoneMs } from './lock-server.ts'
import { RedisJobs } from './redis-jobs.ts'
import { releaseLua } from './release.lua.ts'
import { SharedRedisLock } from './shared-redis-lock.ts'

const acquireScript = new RedisScript('acquire', acquireLua)
const extendScript = new RedisScript('extend', extendLua)
const releaseScript = new RedisScript('release', releaseLua)
const cancelScript = new RedisScript('cancel', cancelLua)

/**
 * Locks on Redis: at most one unexpired lease per key by the server's clock, given in the order in which they were asked for, with
 * growing tokens. Every verb is one script, so one atomic step and one round trip. All keys of a lock are in one slot.
 * Proven by `test/conformance.integration.test.ts`.
 */
export class RedisLock implements LockDriver {
  readonly features: LockFeatures = { scope: 'cluster', order: 'fifo' }
  readonly address: string
  /** The ioredis client underneath; shared with the other adapters of this cluster object on the same address. */
  readonly native: RedisClient
  readonly shared: SharedLockDriver
  readonly jobs: JobDriver
  readonly #server: LockServer

  constructor(server: LockServer) {
    this.address = server.address
    this.native = server.client
    this.shared = new SharedRedisLock(server)
    this.jobs = new RedisJobs(server)
    this.#server = server
  }

  acquire({ key, owner, ttlMs, waitMs }: AcquireRequest, timeoutMs: number): Promise<AcquireReply> {
    const { lease, token, queue, waiters, tombstone } = this.#keys(key, owner)
    const { wakeChannel, channelPrefix, tokenTtlMs } = this.#server
    const args = [owner, ttlMs, waitMs, wakeChannel.id, channelPrefix, claimMs, tokenTtlMs]
    const keys = [lease, token, queue, waiters, tombstone]
    return this.#server.acquire(acquireScript, keys, args, { waits: waitMs > 0, timeoutMs })
  }

  extend(key: string, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply> {
    return this.#server.found(
      'extended',
      extendScript,
      [this.#keys(key, owner).lease],
      [owner, ttlMs],
      timeoutMs,
    )
  }

  release(key: string, owner: string, timeoutMs: number): Promise<ReleaseReply> {
    const { lease, queue, waiters } = this.#keys(key, owner)
    const args = [owner, this.#server.channelPrefix, claimMs]
    return this.#server.found('released', releaseScript, [lease, queue, waiters], args, timeoutMs)
  }

  async cancel(key: string, owner: string, timeoutMs: number): Promise<void> {
    const { lease, queue, waiters, tombstone } = this.#keys(key, owner)
    const args = [owner, this.#server.channelPrefix, claimMs, tombstoneMs]
    await this.#server.run(cancelScript, [lease, queue, waiters, tombstone], args, timeoutMs)
  }

  onWake(owner: string, wake: () => void): () => void {
    return this.#server.wakeChannel.listen(owner, wake)
  }

  ping(timeoutMs: number): Promise<void> {
    return this.#server.ping(timeoutMs)
  }

  close(): Promise<void> {
    return this.#server.close()
  }

  #keys(key: string, owner: string): LockKeys {
    return new LockKeys(this.#server.clusterName, 'lock', key, owner)
  }
}
