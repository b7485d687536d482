import type { RedisClient, RedisConnection, RedisScript } from '@multinode/connection-redis'
import { type AcquireReply, MultinodeError, type PluginContext, type Share } from '@multinode/core'
import { ReplicatedWrites } from './replicated-writes.ts'
import { WakeChannel } from './wake-channel.ts'

/** How long the head of a queue has the first claim on what became free. */
export const claimMs = 200
/** How long a cancelled owner is refused: longer than any of its requests can still be on its way. */
export const tombstoneMs = 60_000
/** The longest wait that is left to a push. */
const longestWaitMs = 5_000
/** How soon a waiter asks again that cannot be told. */
const untoldWaitMs = 100

export interface LockServerOptions {
  /** How many replicas must have a lock before it counts as granted. */
  readonly replicas: number
  /** How long the last token of a lock is remembered that nobody uses. */
  readonly tokenTtlMs: number
}

/** The server as all kinds of locks use it: scripts, what their replies mean, and the channel by which waiters are told. */
export class LockServer {
  readonly address: string
  readonly client: RedisClient
  readonly clusterName: string
  readonly tokenTtlMs: number
  readonly wakeChannel: WakeChannel
  readonly channelPrefix: string
  readonly #share: Share<RedisConnection>
  readonly #replicated: ReplicatedWrites | undefined

  constructor(share: Share<RedisConnection>, context: PluginContext, options: LockServerOptions) {
    this.#share = share
    this.address = share.connection.address
    this.client = share.connection.client
    this.clusterName = context.node.clusterName
    this.tokenTtlMs = options.tokenTtlMs
    this.channelPrefix = `${this.clusterName}:lock:wake:`
    this.wakeChannel = new WakeChannel({
      connect: (signal) => share.connection.duplicate({ signal }),
      prefix: this.channelPrefix,
      clock: context.clock,
      callTimeoutMs: context.callTimeoutMs,
      // Not before the one that it stands by for has had its time.
      standbyAfterMs: claimMs + 5,
      report: context.report,
    })
    const { replicas } = options
    if (replicas > 0) this.#replicated = new ReplicatedWrites(share.connection, replicas, context.clock)
  }

  /** Runs a script that gives a lease, and reads its reply. What the replicas did not get in time is not granted. */
  async acquire(
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    { waits, timeoutMs }: { waits: boolean; timeoutMs: number },
  ): Promise<AcquireReply> {
    const reply = await this.runReplicated(script, keys, args, timeoutMs)
    const [status, value] = Array.isArray(reply) ? reply : []
    if (status === 1 && Number.isSafeInteger(value)) return { status: 'granted', token: value }
    // A negative one would mean a lease that never ends: not ours.
    if (status === 0 && Number.isSafeInteger(value) && value >= 0) {
      if (waits) this.wakeChannel.open()
      const longestMs = this.wakeChannel.isLive ? longestWaitMs : untoldWaitMs
      return { status: 'busy', retryAfterMs: Math.min(longestMs, Math.max(1, value)) }
    }
    if (status === -1) return { status: 'cancelled' }
    throw this.unexpected(script, reply)
  }

  /** As {@link run}; what too few replicas got in time is `UNAVAILABLE`. */
  runReplicated(
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    timeoutMs: number,
  ): Promise<unknown> {
    return this.#replicated?.run(script, keys, args, timeoutMs) ?? this.run(script, keys, args, timeoutMs)
  }

  run(
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    timeoutMs: number,
  ): Promise<unknown> {
    return this.#share.connection.script(script, keys, args, timeoutMs)
  }

  /** Runs a script that answers whether the owner still had a lease. */
  async found<T extends string>(
    done: T,
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    timeoutMs: number,
  ): Promise<T | 'expired' | 'not-owner'> {
    const reply = await this.run(script, keys, args, timeoutMs)
    if (reply === 1) return done
    if (reply === 0) return 'expired'
    if (reply === -1) return 'not-owner'
    throw this.unexpected(script, reply)
  }

  unexpected(script: RedisScript, reply: unknown): MultinodeError {
    return new MultinodeError(
      'INTERNAL',
      `Redis at ${this.address}: the script ${script.name} answered ${JSON.stringify(reply)}, which it never does: ` +
        'something else writes to keys of this cluster, or the server is no Redis.',
      { capability: 'lock', backend: 'redis' },
    )
  }

  ping(timeoutMs: number): Promise<void> {
    return this.#share.connection.ping(timeoutMs)
  }

  async close(): Promise<void> {
    await Promise.all([this.wakeChannel.close(), this.#replicated?.close()])
    await this.#share.release()
  }
}
