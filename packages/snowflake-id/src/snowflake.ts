import { checkCount, checkFunction, checkKnownOptions, checkSignal } from './check.ts'
import {
  bigintForm,
  chooseOutput,
  decoderOf,
  type DecoderOptions,
  numberForm,
  type SnowflakeDecoder,
  stringForms,
  type StringOutput,
} from './decoder.ts'
import { toBase62, toCrockford13 } from './encoding.ts'
import { bigintMaker, type IdMaker, numberMaker, stringMaker } from './id-makers.ts'
import { toFormat } from './layout.ts'
import { Ticks } from './ticks.ts'
import { whenFree } from './when-free.ts'
import { openWindow, type WorkerSource } from './worker-source.ts'

export interface SnowflakeOptions extends DecoderOptions {
  /**
   * Who makes these ids: a number that no other process has, or a lease such as `await cluster.workerIds.acquire({ range: 32 })` of
   * @multinode/core, which sees to that. Of a lease all timestamps are claimed at once, for this generator.
   */
  readonly worker: number | WorkerSource
  /**
   * Only for a plain number: how far ids may run ahead of the clock when there are more than its ticks hold, in ms. Default 1000. A process
   * that is started again within this time can repeat ids.
   */
  readonly maxAheadMs?: number
  /** The time in ms since 1970; read once a call. Default `Date.now`. */
  readonly clock?: () => number
}

export interface GenerateAsyncOptions {
  /** How long to wait for an id that is free, in ms. Default 5000; 0 asks once. */
  readonly waitMs?: number
  /** Ends the waiting: `ABORTED`. */
  readonly signal?: AbortSignal
}

/** Makes ids that only ever grow. Its methods may be passed on without the object. */
export interface Snowflake<Id, Ids> extends SnowflakeDecoder<Id> {
  /**
   * One look at the clock, no loop, no waiting.
   * @throws `EXHAUSTED` with `details.retryAfterMs` when no id is free; nothing is used up by a call that throws
   */
  generate(this: void): Id
  /**
   * So many in order, all or none, 1 to 1,000,000.
   * @throws as {@link generate}; `TOO_LARGE` when so many are never free at once
   */
  generateMany(this: void, count: number): Ids
  /**
   * As {@link generate}, but waits while that is `EXHAUSTED`. All other errors reject at once.
   */
  generateAsync(this: void, options?: GenerateAsyncOptions): Promise<Id>
  /** How far the last id was ahead of the clock at the last call, in ms; 0 when it was not. */
  readonly driftMs: number
}

export type NumberSnowflake = Snowflake<number, Float64Array>
export type BigintSnowflake = Snowflake<bigint, BigUint64Array>
export type StringSnowflake = Snowflake<string, string[]>

const optionNames: readonly (keyof SnowflakeOptions)[] = [
  'worker',
  'layout',
  'epoch',
  'output',
  'maxAheadMs',
  'clock',
]
const mostAtOnce = 1_000_000
const defaultWaitMs = 5000
const longestWaitMs = 2_147_483_647

/**
 * @throws `INVALID_ARGUMENT` for an option that is wrong, unknown or without effect
 */
export function createSnowflake(options: SnowflakeOptions & { readonly output?: 'number' }): NumberSnowflake
export function createSnowflake(options: SnowflakeOptions & { readonly output: 'bigint' }): BigintSnowflake
export function createSnowflake(
  options: SnowflakeOptions & { readonly output: StringOutput },
): StringSnowflake
export function createSnowflake(
  options: SnowflakeOptions,
): NumberSnowflake | BigintSnowflake | StringSnowflake
export function createSnowflake(
  options: SnowflakeOptions,
): NumberSnowflake | BigintSnowflake | StringSnowflake {
  checkKnownOptions('createSnowflake', options, optionNames)
  const { clock } = options
  if (clock !== undefined) checkFunction('clock', clock)
  const format = toFormat(options.layout, options.epoch)
  const output = chooseOutput(options.output, format)
  const window = openWindow(options.worker, options.maxAheadMs, format)
  const ticks = new Ticks(format, window, clock)
  if (output === 'number') {
    return snowflakeOf(numberMaker(ticks, format, window), decoderOf(format, numberForm), ticks)
  }
  if (output === 'bigint') {
    return snowflakeOf(bigintMaker(ticks, format, window), decoderOf(format, bigintForm), ticks)
  }
  const source = format.bits <= 53 ? numberMaker(ticks, format, window) : bigintMaker(ticks, format, window)
  return snowflakeOf(stringMaker(source, writers[output]), decoderOf(format, stringForms[output]), ticks)
}

const writers: Readonly<Record<StringOutput, (id: number | bigint) => string>> = {
  string: String,
  crockford13: toCrockford13,
  base62: toBase62,
}

function snowflakeOf<Id, Ids>(
  { generate, generateMany }: IdMaker<Id, Ids>,
  decoder: SnowflakeDecoder<Id>,
  ticks: Ticks,
): Snowflake<Id, Ids> {
  return {
    generate,
    generateMany: (count) => generateMany(checkCount('n', count, { min: 1, max: mostAtOnce })),
    async generateAsync(options = {}) {
      checkKnownOptions('generateAsync', options, ['waitMs', 'signal'])
      const waitMs = checkCount('waitMs', options.waitMs ?? defaultWaitMs, { min: 0, max: longestWaitMs })
      checkSignal('signal', options.signal)
      return whenFree(generate, waitMs, options.signal)
    },
    get driftMs() {
      return ticks.driftMs
    },
    decode: decoder.decode,
    minFor: decoder.minFor,
    maxFor: decoder.maxFor,
    get expiresAt() {
      return decoder.expiresAt
    },
  }
}
