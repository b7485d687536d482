import { RedisScript, slotPrefix } from '@multinode/connection-redis'
import type { ExtendReply, FireReply, FireRequest, JobDriver, ReleaseReply } from '@multinode/core'
import { claimFireLua } from './claim-fire.lua.ts'
import { extendRunLua } from './extend-run.lua.ts'
import type { LockServer } from './lock-server.ts'

const claimScript = new RedisScript('claim-fire', claimFireLua)
const extendScript = new RedisScript('extend-run', extendRunLua)

/** Scheduled jobs on one Redis server: one hash a job, that never expires. */
export class RedisJobs implements JobDriver {
  readonly #server: LockServer

  constructor(server: LockServer) {
    this.#server = server
  }

  async claim(
    { job, owner, scheduledAtMs, atMostMs, maxSkewMs }: FireRequest,
    timeoutMs: number,
  ): Promise<FireReply> {
    const args = [owner, scheduledAtMs, atMostMs, maxSkewMs]
    const reply = await this.#server.runReplicated(claimScript, [this.#key(job)], args, timeoutMs)
    const [status, value = 0] = Array.isArray(reply) ? reply : []
    if (status === 1 && Number.isSafeInteger(value)) return { status: 'run', token: value }
    if (status === 0) return { status: 'duplicate' }
    if (status === 2 && Number.isSafeInteger(value)) return { status: 'busy', retryAfterMs: value }
    if (status === -2 && Number.isSafeInteger(value)) return { status: 'early', backendMs: value }
    throw this.#server.unexpected(claimScript, reply)
  }

  extend(job: string, owner: string, ttlMs: number, timeoutMs: number): Promise<ExtendReply> {
    return this.#server.found('extended', extendScript, [this.#key(job)], [owner, ttlMs], timeoutMs)
  }

  done(job: string, owner: string, timeoutMs: number): Promise<ReleaseReply> {
    return this.#server.found('released', extendScript, [this.#key(job)], [owner, 0], timeoutMs)
  }

  #key(job: string): string {
    return `${slotPrefix(this.#server.clusterName, 'lock-job', job)}:job`
  }
}
