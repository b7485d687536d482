import { type RedisClient, type RedisConnection, RedisScript, slotPrefix } from '@multinode/connection-redis'
import {
  type ClaimRequest,
  MultinodeError,
  type PluginContext,
  type RenewReply,
  type RenewRequest,
  type Share,
  type WindowReply,
  type WorkerHolder,
  type WorkerIdDriver,
  type WorkerIdFeatures,
  type WorkerIdReply,
  type WorkerIdRequest,
} from '@multinode/core'
import { acquireLua } from './acquire.lua.ts'
import { holdersLua } from './holders.lua.ts'
import { releaseLua } from './release.lua.ts'
import { renewLua } from './renew.lua.ts'

const acquireScript = new RedisScript('acquire', acquireLua)
const renewScript = new RedisScript('renew', renewLua)
const releaseScript = new RedisScript('release', releaseLua)
const holdersScript = new RedisScript('holders', holdersLua)

/**
 * Worker ids on Redis: windows of timestamps of one id never overlap, over pauses, flushes, restarts and failovers. Every verb is one script on one
 * key, so one atomic step and one round trip. Not covered: a master that goes on serving for longer than `maxSkewMs` after its
 * successor was promoted (`min-replicas-to-write` prevents it). Proven by `test/conformance.integration.test.ts`, `test/model.integration.test.ts`.
 */
export class RedisWorkerIds implements WorkerIdDriver {
  readonly features: WorkerIdFeatures = { scope: 'cluster' }
  readonly address: string
  /** The ioredis client underneath; shared with the other adapters of this cluster object on the same address. */
  readonly native: RedisClient
  readonly #share: Share<RedisConnection>
  readonly #table: string

  constructor(share: Share<RedisConnection>, { node }: PluginContext) {
    this.address = share.connection.address
    this.native = share.connection.client
    this.#share = share
    this.#table = `${slotPrefix(node.clusterName, 'workerid', 'table')}:table`
  }

  async acquire(request: WorkerIdRequest, timeoutMs: number): Promise<WorkerIdReply> {
    const { range, prefer, isFirstStart } = request
    const args = [...claimArguments(request), range, prefer ?? -1, isFirstStart ? 1 : 0]
    const reply = await this.#run(acquireScript, args, timeoutMs)
    const [status, value, ...rest] = numbers(reply)
    if (status === 1 && value !== undefined && rest.length === 4) {
      return { status: 'granted', id: value, ...toWindow(rest) }
    }
    if (status === 0 && value !== undefined) return { status: 'exhausted', retryAfterMs: value }
    if (status === -2 && value !== undefined) return { status: 'skewed', backendMs: value }
    throw this.#unexpected(acquireScript, reply)
  }

  async renew(request: RenewRequest, timeoutMs: number): Promise<RenewReply> {
    const { id, usedMs, window } = request
    const { floorMs, ceilingMs, untilMs } = window
    const args = [...claimArguments(request), id, usedMs, floorMs, ceilingMs, untilMs]
    const reply = await this.#run(renewScript, args, timeoutMs)
    const [status, ...rest] = numbers(reply)
    if (status === 1 && rest.length === 4) return { status: 'renewed', ...toWindow(rest) }
    if (status === 0 && rest[0] !== undefined) return { status: 'later', retryAfterMs: rest[0] }
    if (status === -1) return { status: 'lost' }
    throw this.#unexpected(renewScript, reply)
  }

  async release(
    { id, token, usedMs }: { readonly id: number; readonly token: string; readonly usedMs: number },
    timeoutMs: number,
  ): Promise<'released' | 'not-owner'> {
    const reply = await this.#run(releaseScript, [token, id, usedMs], timeoutMs)
    if (reply === 1) return 'released'
    if (reply === 0) return 'not-owner'
    throw this.#unexpected(releaseScript, reply)
  }

  async holders(timeoutMs: number): Promise<readonly WorkerHolder[]> {
    const reply = await this.#run(holdersScript, [], timeoutMs)
    const [nowMs, ...records] = Array.isArray(reply) ? reply : []
    if (!Number.isSafeInteger(nowMs)) throw this.#unexpected(holdersScript, reply)
    return records.map((record) => toHolder(record, nowMs)).sort((a, b) => a.id - b.id)
  }

  ping(timeoutMs: number): Promise<void> {
    return this.#share.connection.ping(timeoutMs)
  }

  close(): Promise<void> {
    return this.#share.release()
  }

  #run(script: RedisScript, args: readonly (string | number)[], timeoutMs: number): Promise<unknown> {
    return this.#share.connection.script(script, [this.#table], args, timeoutMs)
  }

  #unexpected(script: RedisScript, reply: unknown): MultinodeError {
    return new MultinodeError(
      'INTERNAL',
      `Redis at ${this.address}: the script ${script.name} answered ${JSON.stringify(reply)}, which it never does: ` +
        'something else writes to keys of this cluster, or the server is no Redis.',
      { capability: 'workerid', backend: 'redis' },
    )
  }
}

function claimArguments({ token, ownerKey, nowMs, terms }: ClaimRequest): (string | number)[] {
  return [token, ownerKey, nowMs, terms.leaseMs, terms.quarantineMs, terms.maxSkewMs, terms.maxAheadMs]
}

/** The reply as whole numbers; empty when it is anything else. */
function numbers(reply: unknown): readonly number[] {
  return Array.isArray(reply) && reply.every((each) => Number.isSafeInteger(each)) ? reply : []
}

function toWindow([floorMs = 0, ceilingMs = 0, untilMs = 0, backendMs = 0]: readonly number[]): WindowReply {
  return { floorMs, ceilingMs, untilMs, backendMs }
}

function toHolder(record: unknown, nowMs: number): WorkerHolder {
  const [id, ownerKey, sinceMs, untilMs, freeAtMs] = Array.isArray(record) ? record : []
  const isHeld = Number(untilMs) > nowMs
  return {
    id: Number(id),
    ownerKey: String(ownerKey),
    state: isHeld ? 'held' : 'quarantined',
    sinceMs: Number(sinceMs),
    untilMs: Number(isHeld ? untilMs : freeAtMs),
  }
}
