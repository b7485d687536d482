/** Words of `ErrorCode` of @multinode/core: stable, to act on. Messages are for people and may change. */
export type SnowflakeErrorCode = 'INVALID_ARGUMENT' | 'EXHAUSTED' | 'TOO_LARGE' | 'CLOCK_SKEW' | 'ABORTED'

/** What `isMultinodeError` of @multinode/core looks for. */
const brand = Symbol.for('multinode.error')

export class SnowflakeError extends Error {
  override readonly name: string = 'SnowflakeError'
  readonly code: SnowflakeErrorCode
  /** True when the same call may succeed later without any change. */
  readonly retryable: boolean
  /** Facts for programs: the name and value of an option, both times, `retryAfterMs`. */
  readonly details: Readonly<Record<string, unknown>>

  constructor(
    code: SnowflakeErrorCode,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
    options?: { cause: unknown },
  ) {
    super(message, options)
    this.code = code
    this.retryable = code === 'EXHAUSTED'
    this.details = details
    Object.defineProperty(this, brand, { value: true })
  }
}
