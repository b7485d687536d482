import { type RedisConnection, RedisScript, type RunningCall } from '@multinode/connection-redis'
import { type BloomDefinition, MultinodeError } from '@multinode/core'
import { bloomBeginLua } from './bloom-begin.lua.ts'
import { bloomHead } from './bloom-head.ts'
import type { FilterEngine, FilterKeys } from './redis-bloom-filters.ts'

const beginScript = new RedisScript('bloom-begin', bloomBeginLua)

/**
 * Bloom filters by the commands of the server: `BF.RESERVE`, `BF.INSERT`, `BF.MEXISTS`. Two round trips to add, two more for the first, one to ask.
 *
 * What is of the server's kind is there before its head is: where only the head is left, items were lost.
 */
export class NativeFilters implements FilterEngine {
  readonly #connection: RedisConnection

  constructor(connection: RedisConnection) {
    this.#connection = connection
  }

  async add(
    { filter, native }: FilterKeys,
    definition: BloomDefinition,
    items: readonly string[],
    timeoutMs: number,
  ): Promise<string | undefined> {
    const { client } = this.#connection
    const head = bloomHead('native', definition)
    return this.#connection.run('BF.INSERT', timeoutMs, async (call) => {
      let found = await client.getrange(filter, 0, 63)
      if (found === '' && !call.isOver) {
        await this.#reserve(native, definition)
        if (!call.isOver) found = String(await this.#begin(filter, head, call))
      }
      if (found !== head) return found
      if (items.length === 0 || call.isOver) return undefined
      try {
        await client.call('bf.insert', native, 'nocreate', 'items', ...items)
      } catch (error) {
        throw isReply(error, /not found/i) ? this.#lost(definition) : error
      }
      return undefined
    })
  }

  async mayHave(
    { filter, native }: FilterKeys,
    definition: BloomDefinition,
    items: readonly string[],
    timeoutMs: number,
  ): Promise<boolean[] | string | undefined> {
    const { client } = this.#connection
    return this.#connection.run('BF.MEXISTS', timeoutMs, async () => {
      const [head, isThere, flags] = await Promise.all([
        client.getrange(filter, 0, 63),
        client.exists(native),
        items.length === 0 ? [] : client.call('bf.mexists', native, ...items).catch(noneOfAFilterThatIsGone),
      ])
      if (head === '') return undefined
      if (head !== bloomHead('native', definition)) return head
      // Removed by an eviction: what it had is not known.
      if (isThere === 0 || !Array.isArray(flags)) return undefined
      return flags.map((flag) => flag === 1 || flag === true)
    })
  }

  #begin(filter: string, head: string, call: RunningCall): Promise<unknown> {
    const { client } = this.#connection
    return client.evalsha(beginScript.hash, 1, filter, head).catch((error: unknown) => {
      if (!isReply(error, /^NOSCRIPT /) || call.isOver) throw error
      return client.eval(beginScript.source, 1, filter, head)
    })
  }

  #lost({ name }: BloomDefinition): MultinodeError {
    return new MultinodeError(
      'LOST',
      `Redis at ${this.#connection.address}: what the Bloom filter ${JSON.stringify(name)} had was removed by the server: remove it and fill it again.`,
      { capability: 'cache', backend: 'redis', outcome: 'not-sent', details: { name } },
    )
  }

  async #reserve(native: string, { errorRate, capacity }: BloomDefinition): Promise<undefined> {
    try {
      await this.#connection.client.call('bf.reserve', native, errorRate, capacity)
    } catch (error) {
      // Another node was faster.
      if (!isReply(error, /exists/i)) throw error
    }
  }
}

function noneOfAFilterThatIsGone(error: unknown): undefined {
  if (!isReply(error, /not found/i) && !isReply(error, /^WRONGTYPE /)) throw error
}

function isReply(error: unknown, pattern: RegExp): boolean {
  return error instanceof Error && pattern.test(error.message)
}
