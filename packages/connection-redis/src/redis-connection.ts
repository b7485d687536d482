import { type Clock, type Closable, MultinodeError, withDeadline } from '@multinode/core'
import { closeMs, type RedisClient } from './create-client.ts'
import { isNoScript, isUnwritten, reasonOf, toRedisError } from './redis-errors.ts'
import type { RedisScript } from './redis-script.ts'

export interface RedisConnectionParts {
  readonly client: RedisClient
  /** Without secrets. */
  readonly address: string
  readonly clock: Clock
  /** Whether closing ends the client: not when it was handed in. */
  readonly ownsClient: boolean
}

/**
 * A connected client whose every command settles within its deadline, whatever the server does. While the server is
 * away commands are refused at once (`UNAVAILABLE`, `not-sent`) instead of being queued, and nothing is sent twice: a command
 * whose answer was lost rejects with `outcome: 'unknown'`. The client reconnects for ever, with jitter.
 */
export class RedisConnection implements Closable {
  /** The ioredis client underneath. */
  readonly client: RedisClient
  readonly address: string
  readonly #clock: Clock
  readonly #ownsClient: boolean
  #downBecause = ''
  #closed = false

  constructor({ client, address, clock, ownsClient }: RedisConnectionParts) {
    this.client = client
    this.address = address
    this.#clock = clock
    this.#ownsClient = ownsClient
    if (!ownsClient) return
    client.on('ready', () => (this.#downBecause = 'it was closed'))
    // Without a listener ioredis prints to the console. What it says reaches callers by their commands.
    client.on('error', (error: Error) => {
      if (!isUnwritten(error)) this.#downBecause = reasonOf(error)
    })
  }

  /** One command, one round trip. */
  command(name: string, args: readonly (string | number)[], timeoutMs: number): Promise<unknown> {
    return this.#guard(name, timeoutMs, () => this.client.call(name, ...args))
  }

  /**
   * Runs a script by its hash: one round trip, two when the server does not have it yet (after a restart, a failover or
   * SCRIPT FLUSH).
   */
  script(
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    timeoutMs: number,
  ): Promise<unknown> {
    return this.#guard(script.name, timeoutMs, async () => {
      try {
        return await this.client.evalsha(script.hash, keys.length, ...keys, ...args)
      } catch (error) {
        if (!isNoScript(error)) throw error
        return this.client.eval(script.source, keys.length, ...keys, ...args)
      }
    })
  }

  async ping(timeoutMs: number): Promise<void> {
    await this.command('PING', [], timeoutMs)
  }

  /** Ends the connection, unless the client was handed in. A dead server delays it by a fifth of a second at most. */
  async close(): Promise<void> {
    if (!this.#ownsClient) return
    this.#closed = true
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

  async #guard(operation: string, timeoutMs: number, work: () => Promise<unknown>): Promise<unknown> {
    const { address } = this
    if (this.#closed) throw this.#closedError(operation)
    if (this.#ownsClient && this.client.status !== 'ready') throw this.#downError(operation)
    try {
      return await withDeadline(this.#clock, timeoutMs, work(), () => this.#timeout(operation, timeoutMs))
    } catch (error) {
      throw toRedisError(error, { address, operation, outcome: 'unknown' })
    }
  }

  #downError(operation: string): MultinodeError {
    const reason = new Error(`the connection is down: ${this.#downBecause}`)
    return toRedisError(reason, { address: this.address, operation, outcome: 'not-sent' })
  }

  #closedError(operation: string): MultinodeError {
    return new MultinodeError('CLOSED', `Redis at ${this.address}: ${operation} came after the close.`, {
      backend: 'redis',
      outcome: 'not-sent',
    })
  }

  #timeout(operation: string, timeoutMs: number): MultinodeError {
    return new MultinodeError(
      'TIMEOUT',
      `Redis at ${this.address}: no answer to ${operation} within ${timeoutMs} ms. It may still take effect; ` +
        'check the server and the network, then try again.',
      { backend: 'redis', outcome: 'unknown', details: { address: this.address, operation, timeoutMs } },
    )
  }
}
