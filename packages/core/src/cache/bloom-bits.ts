import { hash } from 'node:crypto'

/** How large a Bloom filter is. */
export interface BloomShape {
  readonly bits: number
  /** How many bits each item sets. */
  readonly hashes: number
}

/** As many as a string of Redis can have (512 MiB), less 64 bytes: the head of the filter is in front of them there. */
export const mostBloomBits: number = 2 ** 32 - 512

/** The smallest filter that takes `capacity` items with this rate of false positives: the textbook's sizes, in whole bytes. */
export function bloomShape(capacity: number, errorRate: number): BloomShape {
  const bits = Math.ceil((-capacity * Math.log(errorRate)) / Math.LN2 ** 2 / 8) * 8
  return { bits, hashes: Math.max(1, Math.round((bits / capacity) * Math.LN2)) }
}

/**
 * The bits of an item, from 0 on, some perhaps twice: enhanced double hashing (Dillinger and Manolios, 2004) of two halves of a SHA-256. What is stored depends on
 * it, so it stays as it is.
 */
export function bloomOffsets(item: string, { bits, hashes }: BloomShape): number[] {
  const digest = hash('sha256', item, 'buffer')
  // 48 bits each: what a number holds exactly, and far more than the filter has, so that the remainder is even enough.
  let offset = digest.readUIntBE(0, 6) % bits
  let step = digest.readUIntBE(6, 6) % bits
  const offsets = [offset]
  for (let index = 1; index < hashes; index += 1) {
    offset = (offset + step) % bits
    step = (step + index) % bits
    offsets.push(offset)
  }
  return offsets
}
