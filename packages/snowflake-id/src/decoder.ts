import { checkDate, checkKnownOptions, invalid } from './check.ts'
import {
  fromBase62,
  fromBigint,
  fromCrockford13,
  fromDecimal,
  fromNumber,
  toBase62,
  toCrockford13,
} from './encoding.ts'
import { compose, type Format, type Layout, type LayoutName, startOf, toFormat, toParts } from './layout.ts'
import { SnowflakeError } from './snowflake-error.ts'

/** The form in which ids are given out; the last two have a fixed width and sort as the ids do. */
export type SnowflakeOutput = 'number' | 'bigint' | StringOutput
export type StringOutput = 'string' | 'crockford13' | 'base62'

export interface DecoderOptions {
  /** Default `js53`. */
  readonly layout?: LayoutName | Layout
  /** Where the time begins, as a Date or in ms since 1970. Default: that of the layout; 2025-01-01 for a layout of your own. */
  readonly epoch?: Date | number
  /** Default `number`, which holds layouts of at most 53 bits. */
  readonly output?: SnowflakeOutput
}

export interface DecodedId {
  /** The start of the tick in which the id was made, in ms since 1970. */
  readonly timestampMs: number
  readonly date: Date
  readonly workerId: number
  readonly sequence: number
}

/** What can be said of ids without making any. */
export interface SnowflakeDecoder<Id> {
  /** @throws `INVALID_ARGUMENT` for what cannot be an id of this layout and output */
  decode(this: void, id: Id): DecodedId
  /** The smallest id that can have been made in the tick of this moment: `id >= minFor(from)`. */
  minFor(this: void, date: Date | number): Id
  /** The greatest id that can have been made in the tick of this moment: `id <= maxFor(to)`. */
  maxFor(this: void, date: Date | number): Id
  /** The first moment whose time does not fit into the layout. */
  readonly expiresAt: Date
}

/** How an id is written in an output form, and read back. */
interface Form<Id> {
  write(id: bigint): Id
  read(id: Id): bigint
}

export const numberForm: Form<number> = { write: Number, read: fromNumber }
export const bigintForm: Form<bigint> = { write: (id) => id, read: fromBigint }
export const stringForms: Readonly<Record<StringOutput, Form<string>>> = {
  string: { write: String, read: fromDecimal },
  crockford13: { write: toCrockford13, read: fromCrockford13 },
  base62: { write: toBase62, read: fromBase62 },
}

const outputs: readonly SnowflakeOutput[] = ['number', 'bigint', 'string', 'crockford13', 'base62']

/** Reads ids without being able to make any: for a service that has no worker id. */
export function createDecoder(
  options?: DecoderOptions & { readonly output?: 'number' },
): SnowflakeDecoder<number>
export function createDecoder(
  options: DecoderOptions & { readonly output: 'bigint' },
): SnowflakeDecoder<bigint>
export function createDecoder(
  options: DecoderOptions & { readonly output: StringOutput },
): SnowflakeDecoder<string>
export function createDecoder(
  options?: DecoderOptions,
): SnowflakeDecoder<number> | SnowflakeDecoder<bigint> | SnowflakeDecoder<string>
export function createDecoder(
  options: DecoderOptions = {},
): SnowflakeDecoder<number> | SnowflakeDecoder<bigint> | SnowflakeDecoder<string> {
  checkKnownOptions('createDecoder', options, ['layout', 'epoch', 'output'])
  const format = toFormat(options.layout, options.epoch)
  const output = chooseOutput(options.output, format)
  if (output === 'number') return decoderOf(format, numberForm)
  return output === 'bigint' ? decoderOf(format, bigintForm) : decoderOf(format, stringForms[output])
}

export function chooseOutput(output: SnowflakeOutput = 'number', format: Format): SnowflakeOutput {
  if (!outputs.includes(output)) throw invalid('output', output, `one of ${outputs.join(', ')}`)
  if (output !== 'number' || format.bits <= 53) return output
  throw new SnowflakeError(
    'INVALID_ARGUMENT',
    `A number holds 53 bits, and ${format.name} has ${format.bits}: choose the output bigint, string, crockford13 or base62, or the layout js53.`,
    { name: 'output', value: output, bits: format.bits },
  )
}

export function decoderOf<Id>(format: Format, form: Form<Id>): SnowflakeDecoder<Id> {
  const lastId = 2n ** BigInt(format.bits) - 1n
  return {
    decode(id) {
      const value = form.read(id)
      if (value > lastId)
        throw invalid('id', id, `at most ${lastId}, because ${format.name} has ${format.bits} bits`)
      const { tick, workerId, sequence } = toParts(format, value)
      const timestampMs = startOf(format, tick)
      return { timestampMs, date: new Date(timestampMs), workerId, sequence }
    },
    minFor(date) {
      return form.write(compose(format, { tick: tickOf(format, date), workerId: 0, sequence: 0 }))
    },
    maxFor(date) {
      const last = { workerId: format.workers - 1, sequence: format.sequences - 1 }
      return form.write(compose(format, { tick: tickOf(format, date), ...last }))
    },
    get expiresAt() {
      return new Date(format.expiresAtMs)
    },
  }
}

function tickOf(format: Format, date: Date | number): number {
  const ms = checkDate('date', date)
  if (ms >= format.epochMs && ms < format.expiresAtMs)
    return Math.floor((ms - format.epochMs) / format.unitMs)
  const [first, end] = [format.epochMs, format.expiresAtMs].map((each) => new Date(each).toISOString())
  throw invalid('date', ms, `from ${first} to before ${end}, the times that the layout has`)
}
