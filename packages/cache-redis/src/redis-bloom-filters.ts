import { type RedisConnection, slotPrefix } from '@multinode/connection-redis'
import { type BloomDefinition, type BloomFilterDriver, isMultinodeError } from '@multinode/core'
import { BitmapFilters } from './bitmap-filters.ts'
import { type Engine, engineOf } from './bloom-head.ts'
import { NativeFilters } from './native-filters.ts'

/** The keys of one filter, in one slot. */
export interface FilterKeys {
  /** What it is, and the bits where they are ours. */
  readonly filter: string
  /** Of the server's own kind. */
  readonly native: string
}

/** What one way to keep filters does. A text in place of an answer is the head of what is there: it is kept in another way, or is another filter. */
export interface FilterEngine {
  add(
    keys: FilterKeys,
    definition: BloomDefinition,
    items: readonly string[],
    timeoutMs: number,
  ): Promise<string | undefined>
  mayHave(
    keys: FilterKeys,
    definition: BloomDefinition,
    items: readonly string[],
    timeoutMs: number,
  ): Promise<boolean[] | string | undefined>
}

/** Bloom filters on one server: by its own commands where it has them, else as bits of ours. A filter stays what it was made as. */
export class RedisBloomFilters implements BloomFilterDriver {
  readonly engine: Engine
  readonly #connection: RedisConnection
  readonly #clusterName: string
  readonly #engines: { readonly [E in Engine]: FilterEngine }

  constructor(connection: RedisConnection, clusterName: string, engine: Engine) {
    this.engine = engine
    this.#connection = connection
    this.#clusterName = clusterName
    this.#engines = { native: new NativeFilters(connection), bitmap: new BitmapFilters(connection) }
  }

  async add(definition: BloomDefinition, items: readonly string[], timeoutMs: number): Promise<void> {
    const keys = this.#keys(definition.name)
    const head = await this.#engines[this.engine].add(keys, definition, items, timeoutMs)
    if (head === undefined) return
    const other = engineOf(head, definition, this.#connection.address)
    await this.#engines[other].add(keys, definition, items, timeoutMs)
  }

  async mayHave(
    definition: BloomDefinition,
    items: readonly string[],
    timeoutMs: number,
  ): Promise<boolean[] | undefined> {
    const keys = this.#keys(definition.name)
    const answer = await this.#engines[this.engine].mayHave(keys, definition, items, timeoutMs)
    if (typeof answer !== 'string') return answer
    const other = engineOf(answer, definition, this.#connection.address)
    const second = await this.#engines[other].mayHave(keys, definition, items, timeoutMs)
    // Removed and made anew in between: what it had is gone.
    return typeof second === 'string' ? undefined : second
  }

  async remove(name: string, timeoutMs: number): Promise<void> {
    const { filter, native } = this.#keys(name)
    await this.#connection.command('unlink', [filter, native], timeoutMs)
  }

  #keys(name: string): FilterKeys {
    const prefix = slotPrefix(this.#clusterName, 'cache-bloom', name)
    return { filter: `${prefix}:filter`, native: `${prefix}:native` }
  }
}

/** By asking for the command, because versions and names of products say little. */
export async function findEngine(connection: RedisConnection, timeoutMs: number): Promise<Engine> {
  try {
    const reply = await connection.command('command', ['info', 'bf.add'], timeoutMs)
    return Array.isArray(reply) && Array.isArray(reply[0]) ? 'native' : 'bitmap'
  } catch (error) {
    // Not every user may ask.
    if (isMultinodeError(error) && !error.retryable) return 'bitmap'
    throw error
  }
}
