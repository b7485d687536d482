import type { RedisConnection, RedisScript } from '@multinode/connection-redis'
import { type Clock, MultinodeError, withDeadline } from '@multinode/core'

/**
 * Scripts whose effect must have reached some replicas, on a connection of their own: WAIT blocks all that comes after it. A failover then
 * forgets the effect only if it promotes a replica that is not among them; Redis does not promise that it never does.
 */
export class ReplicatedWrites {
  readonly #shared: RedisConnection
  readonly #replicas: number
  readonly #clock: Clock
  readonly #ending = new AbortController()
  #own: Promise<RedisConnection> | undefined
  /** By node: when it has answered the last one. */
  readonly #lasts = new Map<string, Promise<void>>()

  constructor(shared: RedisConnection, replicas: number, clock: Clock) {
    this.#shared = shared
    this.#replicas = replicas
    this.#clock = clock
  }

  /**
   * One round trip, and the time that replication takes; on each node one after the other.
   * @throws `UNAVAILABLE`, retryable, when too few replicas have it in time (the effect stands), or those before it took all of it
   */
  async run(
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    timeoutMs: number,
  ): Promise<unknown> {
    const untilMs = this.#clock.monotonicMs() + timeoutMs
    const own = await this.#connection()
    const endTurn = await this.#turn(
      script,
      own,
      keys[0] ?? '',
      Math.max(1, untilMs - this.#clock.monotonicMs()),
    )
    try {
      const leftMs = Math.max(1, Math.floor(untilMs - this.#clock.monotonicMs()))
      return await this.#send(own, script, keys, args, leftMs)
    } finally {
      endTurn()
    }
  }

  async close(): Promise<void> {
    this.#ending.abort()
    const own = await this.#own?.catch(() => undefined)
    await own?.close()
  }

  async #send(
    own: RedisConnection,
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
    timeoutMs: number,
  ): Promise<unknown> {
    const waitMs = Math.max(1, Math.floor(timeoutMs / 2))
    const { reply, replicas } = await own.replicatedScript(
      script,
      keys,
      args,
      { replicas: this.#replicas, waitMs },
      timeoutMs,
    )
    if (replicas >= this.#replicas) return reply
    throw new MultinodeError(
      'UNAVAILABLE',
      `Redis at ${own.address}: ${script.name} reached ${replicas} replicas within ${waitMs} ms, not ${this.#replicas} ` +
        '(replicas): check the replication, or ask for fewer.',
      { capability: 'lock', backend: 'redis', outcome: 'unknown', details: { replicas } },
    )
  }

  /**
   * What is sent behind a WAIT arrives only after it: of many at once the last ones could arrive so long after their deadline that nothing
   * remembers that they were cancelled. So each is sent when its node has answered the one before it.
   * @returns ends the turn
   */
  async #turn(
    { name }: RedisScript,
    own: RedisConnection,
    key: string,
    timeoutMs: number,
  ): Promise<() => void> {
    const node = own.nodeOf(key)
    const before = this.#lasts.get(node) ?? Promise.resolve()
    let end = (): void => {}
    const ended = new Promise<void>((resolve) => (end = resolve))
    this.#lasts.set(
      node,
      before.then(() => ended),
    )
    try {
      await withDeadline(this.#clock, timeoutMs, before, () => {
        return new MultinodeError(
          'UNAVAILABLE',
          `Redis at ${own.address}: ${name} was not sent, because those before it waited for replicas all the time: ` +
            'check the replication.',
          { capability: 'lock', backend: 'redis', outcome: 'not-sent' },
        )
      })
    } catch (error) {
      end()
      throw error
    }
    return end
  }

  #connection(): Promise<RedisConnection> {
    this.#own ??= this.#shared.duplicate({ signal: this.#ending.signal }).catch((error: unknown) => {
      this.#own = undefined
      throw error
    })
    return this.#own
  }
}
