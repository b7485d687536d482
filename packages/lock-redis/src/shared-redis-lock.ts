import { RedisScript } from '@multinode/connection-redis'
import type {
  AcquireReply,
  ExtendReply,
  ReleaseReply,
  SharedAcquireRequest,
  SharedLockDriver,
} from '@multinode/core'
import { acquireSharedLua } from './acquire-shared.lua.ts'
import { cancelSharedLua } from './cancel-shared.lua.ts'
import { extendSharedLua } from './extend-shared.lua.ts'
import { LockKeys } from './lock-keys.ts'
import { claimMs, type LockServer, tombstoneMs } from './lock-server.ts'
import { releaseSharedLua } from './release-shared.lua.ts'

const acquireScript = new RedisScript('acquire-shared', acquireSharedLua)
const extendScript = new RedisScript('extend-shared', extendSharedLua)
const releaseScript = new RedisScript('release-shared', releaseSharedLua)
const cancelScript = new RedisScript('cancel-shared', cancelSharedLua)

/** Semaphores and read-write locks on one Redis server: one script, so one atomic step and one round trip, for each verb. */
export class SharedRedisLock implements SharedLockDriver {
  readonly #server: LockServer

  constructor(server: LockServer) {
    this.#server = server
  }

  acquire(request: SharedAcquireRequest, timeoutMs: number): Promise<AcquireReply> {
    const { key, owner, ttlMs, waitMs, mode, permits } = request
    const { lease, token, queue, waiters, holders, tokens, tombstone } = this.#keys(key, owner)
    const { wakeChannel, channelPrefix, tokenTtlMs } = this.#server
    const keys = [lease, token, queue, waiters, tombstone, holders, tokens]
    const args = [owner, ttlMs, waitMs, wakeChannel.id, channelPrefix, claimMs, tokenTtlMs, mode, permits]
    return this.#server.acquire(acquireScript, keys, args, { waits: waitMs > 0, timeoutMs })
  }

  extend(key: string, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply> {
    const { lease, holders, tokens } = this.#keys(key, owner)
    return this.#server.found('extended', extendScript, [lease, holders, tokens], [owner, ttlMs], timeoutMs)
  }

  release(key: string, owner: string, timeoutMs: number): Promise<ReleaseReply> {
    const { lease, queue, waiters, holders, tokens } = this.#keys(key, owner)
    const args = [owner, this.#server.channelPrefix, claimMs]
    return this.#server.found(
      'released',
      releaseScript,
      [lease, queue, waiters, holders, tokens],
      args,
      timeoutMs,
    )
  }

  async cancel(key: string, owner: string, timeoutMs: number): Promise<void> {
    const { lease, queue, waiters, holders, tokens, tombstone } = this.#keys(key, owner)
    const args = [owner, this.#server.channelPrefix, claimMs, tombstoneMs]
    await this.#server.run(cancelScript, [lease, queue, waiters, holders, tokens, tombstone], args, timeoutMs)
  }

  #keys(key: string, owner: string): LockKeys {
    return new LockKeys(this.#server.clusterName, 'lock-shared', key, owner)
  }
}
