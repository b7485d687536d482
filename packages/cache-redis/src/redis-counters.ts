import { type RedisConnection, RedisScript, slotPrefix } from '@multinode/connection-redis'
import { type CounterDriver, MultinodeError } from '@multinode/core'
import { incrementLua } from './increment.lua.ts'

const incrementScript = new RedisScript('increment', incrementLua)

/** Counters on one server: a key each, changed in one script. */
export class RedisCounters implements CounterDriver {
  readonly #connection: RedisConnection
  readonly #clusterName: string

  constructor(connection: RedisConnection, clusterName: string) {
    this.#connection = connection
    this.#clusterName = clusterName
  }

  async increment(name: string, by: number, ttlMs: number | undefined, timeoutMs: number): Promise<number> {
    const args = [by, ttlMs ?? '']
    const reply = await this.#connection.script(incrementScript, [this.#key(name)], args, timeoutMs)
    if (typeof reply === 'string') return Number(reply)
    throw new MultinodeError(
      'REJECTED',
      `Redis at ${this.#connection.address}: ${by} more would take the counter ${JSON.stringify(name)} out of the safe integers; it is unchanged.`,
      { capability: 'cache', backend: 'redis', outcome: 'not-sent', details: { name } },
    )
  }

  async get(name: string, timeoutMs: number): Promise<number> {
    return Number((await this.#connection.command('get', [this.#key(name)], timeoutMs)) ?? 0)
  }

  async reset(name: string, timeoutMs: number): Promise<void> {
    await this.#connection.command('unlink', [this.#key(name)], timeoutMs)
  }

  #key(name: string): string {
    return `${slotPrefix(this.#clusterName, 'cache-counter', name)}:counter`
  }
}
