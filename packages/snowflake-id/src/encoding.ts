import { invalid } from './check.ts'

/** Letters in the order of their character codes, so that texts of one width sort as the numbers do. */
interface Alphabet {
  readonly name: string
  readonly letters: string
  /** An odd number. */
  readonly width: number
  /** All texts of two letters, in order: an id is written two letters at a time. */
  pairs(this: void): readonly string[]
}

/** Without I, L, O and U. 13 letters of 5 bits hold 64 bits. */
const crockford = alphabet('Crockford base 32', '0123456789ABCDEFGHJKMNPQRSTVWXYZ', 13)
const base62 = alphabet('base 62', '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 11)

function alphabet(name: string, letters: string, width: number): Alphabet {
  let pairs: string[] | undefined
  const makePairs = (): string[] =>
    Array.from(letters).flatMap((first) => Array.from(letters, (second) => first + second))
  return { name, letters, width, pairs: () => (pairs ??= makePairs()) }
}

/** Of 63 bits. */
const maxId = 2n ** 63n - 1n
const wordSize = 2 ** 32

/** 13 characters, from `0000000000000` to `7ZZZZZZZZZZZZ`; sorts as the ids do, in every collation. */
export function toCrockford13(id: number | bigint): string {
  return toText(checkId(id), crockford)
}

/** Only what {@link toCrockford13} makes: 13 characters, upper case. */
export function fromCrockford13(text: string): bigint {
  return fromText(text, crockford)
}

/** 11 characters; sorts as the ids do, where upper case sorts before lower case (collation `C`, binary). */
export function toBase62(id: number | bigint): string {
  return toText(checkId(id), base62)
}

/** Only what {@link toBase62} makes: 11 characters. */
export function fromBase62(text: string): bigint {
  return fromText(text, base62)
}

/** Digits without a sign, a space or a leading zero. */
export function fromDecimal(text: string): bigint {
  if (typeof text !== 'string' || !/^(?:0|[1-9]\d{0,18})$/.test(text)) {
    throw invalid('id', text, 'a decimal number of at most 19 digits, without leading zeros')
  }
  return fromBigint(BigInt(text))
}

export function fromNumber(id: number): bigint {
  if (!Number.isSafeInteger(id) || id < 0) {
    throw invalid('id', id, 'a whole number from 0 to 2^53 - 1; greater ones have lost digits already')
  }
  return BigInt(id)
}

export function fromBigint(id: bigint): bigint {
  if (typeof id !== 'bigint' || id < 0n || id > maxId) {
    throw invalid('id', id, 'a bigint from 0 to 2^63 - 1')
  }
  return id
}

function checkId(id: number | bigint): number | bigint {
  if (typeof id === 'bigint') fromBigint(id)
  else fromNumber(id)
  return id
}

/** In halves of 32 bits until it fits into a number: dividing bigints is slow. */
function toText(id: number | bigint, { letters, width, pairs }: Alphabet): string {
  const twoLetters = pairs()
  const base = twoLetters.length
  const high = typeof id === 'bigint' ? Number(id >> 32n) : Math.floor(id / wordSize)
  const low = typeof id === 'bigint' ? Number(id & 0xffff_ffffn) : id - high * wordSize
  const rest = (high % base) * wordSize + low
  let left = Math.floor(high / base) * wordSize + Math.floor(rest / base)
  let text = twoLetters[rest % base] ?? ''
  for (let letter = 2; letter < width - 1; letter += 2) {
    const next = Math.floor(left / base)
    text = (twoLetters[left - next * base] ?? '') + text
    left = next
  }
  return letters.charAt(left) + text
}

function fromText(text: string, { name, letters, width }: Alphabet): bigint {
  const accepted = `${width} characters of ${name}, for at most 2^63 - 1`
  if (typeof text !== 'string' || text.length !== width) throw invalid('id', text, accepted)
  let id = 0n
  for (const letter of text) {
    const digit = letters.indexOf(letter)
    if (digit < 0) throw invalid('id', text, accepted)
    id = id * BigInt(letters.length) + BigInt(digit)
  }
  if (id > maxId) throw invalid('id', text, accepted)
  return id
}
