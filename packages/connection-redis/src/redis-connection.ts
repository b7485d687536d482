import { type Clock, type Closable, isMultinodeError, MultinodeError, pause } from '@multinode/core'
import { closeMs, type RedisClient } from './create-client.ts'
import type { FailoverWatch } from './failover-watch.ts'
import { keySlot } from './key-slot.ts'
import { pipelined } from './pipelined.ts'
import type { ReadRouter } from './read-router.ts'
import { isNoScript, isUnwritten, reasonOf, toRedisError } from './redis-errors.ts'
import type { RedisScript } from './redis-script.ts'
import type { RunningCall } from './running-call.ts'
import { SettledCalls, type Work } from './settled-calls.ts'

export interface RedisConnectionParts {
  readonly client: RedisClient
  /** Without secrets. */
  readonly address: string
  readonly clock: Clock
  /** Whether closing ends the client: not when it was handed in. */
  readonly ownsClient: boolean
  /** How often a command that surely was not carried out is tried again, and after how long. */
  readonly retry: RetryPolicy
  /** Where reads that may be behind go, when not to the master. */
  readonly reads: ReadRouter | undefined
  /** Ends with the connection. */
  readonly failoverWatch: FailoverWatch | undefined
  /** Makes one more connection to the same place. */
  readonly reopen: (options: DuplicateOptions) => Promise<RedisConnection>
}

export interface RetryPolicy {
  readonly most: number
  readonly backoffMs: (attempt: number) => number
}

export interface DuplicateOptions {
  /** How long its longest blocking command may take; a link that is silent for longer is cut. Default 0. */
  readonly blockMs?: number
  /**
   * For a library that uses the {@link RedisConnection.client} by itself and cannot bear that a command fails because the connection broke: commands wait
   * while it is down, are sent again when it broke, and have no deadline. Default false.
   */
  readonly resends?: boolean
  /** Ends the opening: the caller does not want it any more. */
  readonly signal?: AbortSignal
}

/**
 * A connected client whose every command settles within its deadline, whatever the server does. While the server is
 * away commands are refused at once, in the next turn of the event loop (`UNAVAILABLE`, `not-sent`), instead of being queued, and nothing is sent twice: a command
 * whose answer was lost rejects with `outcome: 'unknown'`. The client reconnects for ever, with jitter.
 */
export class RedisConnection implements Closable {
  /** The ioredis client underneath. */
  readonly client: RedisClient
  readonly address: string
  readonly #clock: Clock
  readonly #calls: SettledCalls
  /** Only of a Cluster's client of ours: one that was handed in repeats by itself what a Cluster refused. */
  readonly #refresh: (() => void) | undefined
  readonly #ownsClient: boolean
  readonly #retry: RetryPolicy
  readonly #reads: ReadRouter | undefined
  readonly #failoverWatch: FailoverWatch | undefined
  readonly #reopen: RedisConnectionParts['reopen']
  #downBecause = new Error('the connection is down')
  #closed = false

  constructor(parts: RedisConnectionParts) {
    const { client } = parts
    this.client = client
    this.address = parts.address
    this.#clock = parts.clock
    this.#calls = new SettledCalls(parts.address, parts.clock)
    this.#ownsClient = parts.ownsClient
    this.#retry = parts.retry
    this.#reads = parts.reads
    this.#failoverWatch = parts.failoverWatch
    this.#reopen = parts.reopen
    if (!parts.ownsClient) return
    if ('refreshSlotsCache' in client) this.#refresh = () => client.refreshSlotsCache()
    client.on('ready', () => (this.#downBecause = down('it was closed')))
    // Without a listener ioredis prints to the console. What it says reaches callers by their commands.
    client.on('error', (error: Error) => {
      if (!isUnwritten(error)) this.#downBecause = down(reasonOf(error))
    })
  }

  /** One command, one round trip. */
  command(name: string, args: readonly (string | number)[], timeoutMs: number): Promise<unknown> {
    return this.run(name, timeoutMs, () => this.client.call(name, ...args))
  }

  /** As {@link command}; what is text or bytes in the reply comes as bytes. */
  commandBuffer(name: string, args: readonly (string | number)[], timeoutMs: number): Promise<unknown> {
    return this.run(name, timeoutMs, () => this.client.callBuffer(name, ...args))
  }

  /**
   * Runs a script by its hash: one round trip, two when the server does not have it yet (after a restart, a failover or
   * SCRIPT FLUSH).
   */
  script(
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number | Buffer)[],
    timeoutMs: number,
  ): Promise<unknown> {
    return this.run(script.name, timeoutMs, (call) =>
      this.client.evalsha(script.hash, keys.length, ...keys, ...args).catch((error: unknown) => {
        if (!isNoScript(error) || call.isOver) throw error
        return this.client.eval(script.source, keys.length, ...keys, ...args)
      }),
    )
  }

  /**
   * A script, and then WAIT for replicas to have its effect: one round trip, and the time of the replication. For a connection of its
   * own, because WAIT delays every command behind it.
   * @returns the script's reply, and how many replicas had it within `waitMs`
   */
  async replicatedScript(
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    { replicas, waitMs }: { readonly replicas: number; readonly waitMs: number },
    timeoutMs: number,
  ): Promise<{ reply: unknown; replicas: number }> {
    const startedAtMs = this.#clock.monotonicMs()
    const send = (call: RunningCall, command: 'evalsha' | 'eval', text: string): Promise<unknown[]> => {
      // WAIT waits also behind a script that the server does not have.
      const leftMs = Math.max(1, Math.ceil(waitMs - (this.#clock.monotonicMs() - startedAtMs)))
      const commands = [
        [command, text, keys.length, ...keys, ...args],
        ['wait', replicas, leftMs],
      ] as const
      return pipelined(this.client, commands, call)
    }
    const [reply, count] = await this.run(script.name, timeoutMs, async (call) => {
      try {
        return await send(call, 'evalsha', script.hash)
      } catch (error) {
        if (!isNoScript(error) || call.isOver) throw error
        return send(call, 'eval', script.source)
      }
    })
    return { reply, replicas: Number(count) }
  }

  /** Where the key is, as far as is known: the same for all keys unless it is a Cluster. */
  nodeOf(key: string): string {
    if (!('slots' in this.client)) return this.address
    return this.client.slots[keySlot(key)]?.[0] ?? this.address
  }

  /**
   * A command that only reads, and may be behind by the lag of replication. It goes where `route_randomly`, `route_by_latency` and
   * `replica_only` say, else to the master, as it does when a replica refuses it or is away. One round trip, then two.
   */
  async eventualRead(name: string, args: readonly (string | number)[], timeoutMs: number): Promise<unknown> {
    const client = this.#reads?.client()
    if (client === undefined) return this.command(name, args, timeoutMs)
    const startedAtMs = this.#clock.monotonicMs()
    try {
      // In lower case, or a Cluster's client does not know that it reads.
      return await this.#guard(client, name, timeoutMs, () => client.call(name.toLowerCase(), ...args))
    } catch (error) {
      const leftMs = Math.floor(timeoutMs - (this.#clock.monotonicMs() - startedAtMs))
      if (!isMultinodeError(error) || error.code !== 'UNAVAILABLE' || leftMs < 1) throw error
      return this.command(name, args, leftMs)
    }
  }

  /**
   * One more connection to the same place, for commands that block and for subscriptions. The caller closes it; it goes on when this
   * one is closed. Settles within `connectTimeoutMs`.
   */
  duplicate(options: DuplicateOptions = {}): Promise<RedisConnection> {
    return this.#reopen(options)
  }

  async ping(timeoutMs: number): Promise<void> {
    await this.command('PING', [], timeoutMs)
  }

  /** Ends the connection, unless the client was handed in. A dead server delays it by a fifth of a second at most. */
  async close(): Promise<void> {
    if (!this.#ownsClient) return
    this.#closed = true
    this.#reads?.close()
    this.#failoverWatch?.close()
    // Between two attempts ioredis would leave those that wait unsettled; in one it fails them.
    const waits = this.client.status === 'reconnecting' && this.client.options.enableOfflineQueue
    if (waits && !('nodes' in this.client)) this.client.connect().catch(() => {})
    const isOpen = ['connecting', 'connect', 'ready'].includes(this.client.status)
    // Not 'close', which never comes when the socket has not been made yet.
    const ended = isOpen ? new Promise((resolve) => this.client.once('end', resolve)) : undefined
    this.client.disconnect()
    if (ended === undefined) return
    // It also never comes while Sentinels are asked, or before the nodes of a Cluster are known.
    const late = new Promise<void>((resolve) => {
      const timer = this.#clock.setTimer(resolve, 2 * closeMs, 'foreground')
      void ended.then(() => timer.cancel())
    })
    await Promise.race([ended, late])
  }

  /**
   * One round trip of a library that sends it on {@link client}: with our deadline, and its errors as ours. Run again where commands are. Work that
   * sends more than one thing sends nothing more once its call is over.
   *
   * Not async, and nor is `#guard`: a layer of that costs as much as a timer.
   */
  run<T>(operation: string, timeoutMs: number, work: Work<T>): Promise<T> {
    if (this.#retry.most > 0) return this.#repeat(operation, timeoutMs, work)
    return this.#guard(this.client, operation, timeoutMs, work)
  }

  /** Again and again within the deadline, as far as the settings say, but never what may have been carried out. */
  async #repeat<T>(operation: string, timeoutMs: number, work: Work<T>): Promise<T> {
    const { most, backoffMs } = this.#retry
    const untilMs = this.#clock.monotonicMs() + timeoutMs
    for (let attempt = 1; ; attempt += 1) {
      const leftMs = Math.max(1, Math.floor(untilMs - this.#clock.monotonicMs()))
      try {
        return await this.#guard(this.client, operation, leftMs, work)
      } catch (error) {
        const isSafe = isMultinodeError(error) && error.retryable && error.outcome === 'not-sent'
        // Not past the deadline: half of what is left is kept for the attempt.
        const waitMs = Math.floor(Math.min(backoffMs(attempt), (untilMs - this.#clock.monotonicMs()) / 2))
        if (!isSafe || attempt > most || waitMs < 1) throw error
        await pause(this.#clock, waitMs)
      }
    }
  }

  #guard<T>(client: RedisClient, operation: string, timeoutMs: number, work: Work<T>): Promise<T> {
    if (this.#closed) return refusal(this.#closedError(operation))
    if (this.#ownsClient && client.status !== 'ready') return refusal(this.#downError(operation))
    // What a replica refuses its master is asked for.
    return this.#calls.settle(operation, timeoutMs, work, client === this.client ? this.#refresh : undefined)
  }

  #downError(operation: string): MultinodeError {
    return toRedisError(this.#downBecause, { address: this.address, operation, outcome: 'not-sent' })
  }

  #closedError(operation: string): MultinodeError {
    return new MultinodeError('CLOSED', `Redis at ${this.address}: ${operation} came after the close.`, {
      backend: 'redis',
      outcome: 'not-sent',
    })
  }
}

function down(reason: string): Error {
  return new Error(`the connection is down: ${reason}`)
}

/** Takes a turn of the event loop, as every failure does: who tries again at once would else keep the connection from coming back for ever. */
function refusal(error: MultinodeError): Promise<never> {
  return new Promise((_, reject) => setImmediate(reject, error))
}
