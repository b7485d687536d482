import { type RedisConnection, RedisScript } from '@multinode/connection-redis'
import { type BloomDefinition, bloomOffsets, bloomShape, type BloomShape } from '@multinode/core'
import { bloomAddLua } from './bloom-add.lua.ts'
import { bloomHead } from './bloom-head.ts'
import { bloomLookLua } from './bloom-look.lua.ts'
import { pipelineAll, scriptCall } from './pipelines.ts'
import type { FilterEngine, FilterKeys } from './redis-bloom-filters.ts'

const addScript = new RedisScript('bloom-add', bloomAddLua)
const lookScript = new RedisScript('bloom-look', bloomLookLua)

/** In one script, so that it does not keep the server busy for more than a few milliseconds. */
const itemsAtOnce = 1_000

/** Bloom filters as the bits of a string. One round trip. */
export class BitmapFilters implements FilterEngine {
  readonly #connection: RedisConnection

  constructor(connection: RedisConnection) {
    this.#connection = connection
  }

  async add(
    { filter }: FilterKeys,
    definition: BloomDefinition,
    items: readonly string[],
    timeoutMs: number,
  ): Promise<string | undefined> {
    const shape = bloomShape(definition.capacity, definition.errorRate)
    const head = bloomHead('bitmap', definition)
    const calls = chunksOf(items).map((chunk) =>
      scriptCall(addScript, [filter], [head, packOffsets(chunk, shape)]),
    )
    const replies = await this.#connection.run('bloom-add', timeoutMs, (call) =>
      pipelineAll(this.#connection, calls, call),
    )
    const other = replies.find((reply) => Buffer.isBuffer(reply))
    return other?.toString()
  }

  async mayHave(
    { filter }: FilterKeys,
    definition: BloomDefinition,
    items: readonly string[],
    timeoutMs: number,
  ): Promise<boolean[] | string | undefined> {
    const shape = bloomShape(definition.capacity, definition.errorRate)
    const head = bloomHead('bitmap', definition)
    const chunks = chunksOf(items)
    const calls = chunks.map((chunk) =>
      scriptCall(lookScript, [filter], [head, shape.hashes, packOffsets(chunk, shape)]),
    )
    const replies = await this.#connection.run('bloom-look', timeoutMs, () =>
      pipelineAll(this.#connection, calls),
    )
    const answers: boolean[] = []
    for (const [index, reply] of replies.entries()) {
      if (!Buffer.isBuffer(reply)) return undefined
      const text = reply.toString()
      if (text.length !== chunks[index]?.length || text.includes(' ')) return text
      answers.push(...text.split('').map((flag) => flag === '1'))
    }
    return answers
  }
}

/** At least one, so that an empty list is asked, too. */
function chunksOf(items: readonly string[]): (readonly string[])[] {
  const chunks = [items.slice(0, itemsAtOnce)]
  for (let at = itemsAtOnce; at < items.length; at += itemsAtOnce)
    chunks.push(items.slice(at, at + itemsAtOnce))
  return chunks
}

function packOffsets(items: readonly string[], shape: BloomShape): Buffer {
  const bytes = Buffer.allocUnsafe(items.length * shape.hashes * 4)
  let at = 0
  for (const item of items) {
    for (const offset of bloomOffsets(item, shape)) at = bytes.writeUInt32BE(offset, at)
  }
  return bytes
}
