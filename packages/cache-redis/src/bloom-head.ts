import { type BloomDefinition, MultinodeError } from '@multinode/core'

export type Engine = 'native' | 'bitmap'

const headBytes = 64

/** The 64 bytes that say what a filter is: to be compared. */
export function bloomHead(engine: Engine, { capacity, errorRate }: BloomDefinition): string {
  return `1 ${engine} ${capacity} ${errorRate}`.padEnd(headBytes)
}

/**
 * @param head what is there
 * @returns how this filter is kept
 * @throws `REJECTED` when what is there is no filter of this size
 */
export function engineOf(head: string, definition: BloomDefinition, address: string): Engine {
  for (const engine of ['native', 'bitmap'] as const) {
    if (head === bloomHead(engine, definition)) return engine
  }
  const [, , capacity, errorRate] = head.split(/\s+/)
  throw new MultinodeError(
    'REJECTED',
    `Redis at ${address}: the Bloom filter ${JSON.stringify(definition.name)} was made for ${capacity} items with an error rate of ${errorRate}: ` +
      'use these, or remove it first.',
    { capability: 'cache', backend: 'redis', outcome: 'not-sent', details: { name: definition.name } },
  )
}
