import { MultinodeError } from '../errors/multinode-error.ts'
import { bloomOffsets, type BloomShape, bloomShape } from './bloom-bits.ts'
import type { BloomDefinition, BloomFilterDriver } from './cache-driver.ts'

interface Filter {
  readonly definition: BloomDefinition
  readonly shape: BloomShape
  readonly bytes: Uint8Array
}

/** Of all filters together. */
const defaultMostBytes = 256 * 1_048_576
/** What keeping one costs besides its bits. */
const overheadBytes = 500

/** The Bloom filters of one cluster name in this process. A filter without some of its bits would deny what it has, so none is ever dropped: when they are too large no further one is made. */
export class MemoryBloomFilters implements BloomFilterDriver {
  readonly engine = 'process'
  readonly #filters = new Map<string, Filter>()
  readonly #mostBytes: number
  #bytes = 0

  constructor(mostBytes: number = defaultMostBytes) {
    this.#mostBytes = mostBytes
  }

  async add(definition: BloomDefinition, items: readonly string[]): Promise<void> {
    const { bytes, shape } = this.#existing(definition) ?? this.#make(definition)
    for (const item of items) {
      for (const offset of bloomOffsets(item, shape)) {
        const index = Math.floor(offset / 8)
        bytes[index] = (bytes[index] ?? 0) | maskOf(offset)
      }
    }
  }

  async mayHave({ name }: BloomDefinition, items: readonly string[]): Promise<boolean[] | undefined> {
    const filter = this.#filters.get(name)
    return filter && items.map((item) => has(filter, item))
  }

  async remove(name: string): Promise<void> {
    const filter = this.#filters.get(name)
    if (filter === undefined) return
    this.#filters.delete(name)
    this.#bytes -= filter.bytes.byteLength + overheadBytes
  }

  #existing({ name, capacity, errorRate }: BloomDefinition): Filter | undefined {
    const filter = this.#filters.get(name)
    if (filter === undefined) return undefined
    const { definition } = filter
    if (definition.capacity === capacity && definition.errorRate === errorRate) return filter
    throw new MultinodeError(
      'REJECTED',
      `cache on memory: the Bloom filter ${JSON.stringify(name)} was made for ${definition.capacity} items with an error rate of ${definition.errorRate}: ` +
        'use these, or remove it first.',
      { capability: 'cache', backend: 'memory', outcome: 'not-sent', details: { name } },
    )
  }

  #make(definition: BloomDefinition): Filter {
    const shape = bloomShape(definition.capacity, definition.errorRate)
    const size = shape.bits / 8 + overheadBytes
    if (this.#bytes + size > this.#mostBytes) {
      throw new MultinodeError(
        'EXHAUSTED',
        `cache on memory: the Bloom filters together may have ${this.#mostBytes} bytes; ${JSON.stringify(definition.name)} was not made. Remove some, or use a backend that is not this process.`,
        { capability: 'cache', backend: 'memory', outcome: 'not-sent' },
      )
    }
    const filter = { definition, shape, bytes: new Uint8Array(shape.bits / 8) }
    this.#filters.set(definition.name, filter)
    this.#bytes += size
    return filter
  }
}

function has({ bytes, shape }: Filter, item: string): boolean {
  return bloomOffsets(item, shape).every(
    (offset) => ((bytes[Math.floor(offset / 8)] ?? 0) & maskOf(offset)) !== 0,
  )
}

function maskOf(offset: number): number {
  return 0x80 >> (offset % 8)
}
