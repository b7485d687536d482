import { type RedisConnection, RedisScript } from '@multinode/connection-redis'
import type { BloomDefinition } from '@multinode/core'
import { bloomBeginLua } from './bloom-begin.lua.ts'
import { bloomHead } from './bloom-head.ts'
import type { FilterEngine, FilterKeys } from './redis-bloom-filters.ts'

const beginScript = new RedisScript('bloom-begin', bloomBeginLua)

/** Bloom filters by the commands of the server: `BF.RESERVE`, `BF.INSERT`, `BF.MEXISTS`. Two round trips to add, one to ask. */
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
    return this.#connection.run('BF.INSERT', timeoutMs, async () => {
      const found = String(await this.#begin(filter, head))
      if (found !== head) return found
      const insert = (): Promise<unknown> => client.call('bf.insert', native, 'nocreate', 'items', ...items)
      if (items.length === 0) return this.#reserve(native, definition)
      try {
        await insert()
      } catch (error) {
        if (!isReply(error, /not found/i)) throw error
        await this.#reserve(native, definition)
        await insert()
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

  #begin(filter: string, head: string): Promise<unknown> {
    const { client } = this.#connection
    return client.evalsha(beginScript.hash, 1, filter, head).catch((error: unknown) => {
      if (!isReply(error, /^NOSCRIPT /)) throw error
      return client.eval(beginScript.source, 1, filter, head)
    })
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
