export {
  type BigintSnowflake,
  createSnowflake,
  type GenerateAsyncOptions,
  type NumberSnowflake,
  type Snowflake,
  type SnowflakeOptions,
  type StringSnowflake,
} from './snowflake.ts'
export {
  createDecoder,
  type DecodedId,
  type DecoderOptions,
  type SnowflakeDecoder,
  type SnowflakeOutput,
  type StringOutput,
} from './decoder.ts'
export { fromBase62, fromCrockford13, toBase62, toCrockford13 } from './encoding.ts'
export type { Layout, LayoutName } from './layout.ts'
export { SnowflakeError, type SnowflakeErrorCode } from './snowflake-error.ts'
export type { TimestampWindow, WorkerSource } from './worker-source.ts'
