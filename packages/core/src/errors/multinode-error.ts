/**
 * What went wrong, as a stable word to act on. Messages are for people and may change; codes do not.
 * `TIMEOUT`, `UNAVAILABLE` and `EXHAUSTED` are worth a retry, all others are not.
 */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'MISCONFIGURED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'NOT_OWNED'
  | 'LOST'
  | 'TIMEOUT'
  | 'UNAVAILABLE'
  | 'EXHAUSTED'
  | 'TOO_LARGE'
  | 'REJECTED'
  | 'UNSUPPORTED'
  | 'CLOCK_SKEW'
  | 'ABORTED'
  | 'CLOSED'
  | 'INTERNAL'

/**
 * Whether a failed write may have happened: `not-sent` means it certainly did not, `unknown` means it may have
 * (the request left, the answer did not come).
 */
export type Outcome = 'not-sent' | 'unknown'

export interface ErrorContext {
  cause?: unknown
  capability?: string | undefined
  backend?: string | undefined
  details?: Readonly<Record<string, unknown>>
  outcome?: Outcome | undefined
}

const brand = Symbol.for('multinode.error')
const retryableCodes: ReadonlySet<ErrorCode> = new Set(['TIMEOUT', 'UNAVAILABLE', 'EXHAUSTED'])

/**
 * The one error class of all multinode packages. Use {@link isMultinodeError} rather than `instanceof`: packages
 * that do not depend on core throw the same shape.
 */
export class MultinodeError extends Error {
  override readonly name: string = 'MultinodeError'
  readonly code: ErrorCode
  /** True when the same call may succeed later without any change. */
  readonly retryable: boolean
  readonly capability: string | undefined
  readonly backend: string | undefined
  /** Facts for programs (a key, both clocks, `retryAfterMs`); never a secret. */
  readonly details: Readonly<Record<string, unknown>>
  /** Only on failed writes. */
  readonly outcome: Outcome | undefined

  constructor(code: ErrorCode, message: string, context: ErrorContext = {}) {
    super(message, 'cause' in context ? { cause: context.cause } : undefined)
    this.code = code
    this.retryable = retryableCodes.has(code)
    this.capability = context.capability
    this.backend = context.backend
    this.details = context.details ?? {}
    this.outcome = context.outcome
    Object.defineProperty(this, brand, { value: true })
  }
}

/** Recognises the shape by its brand, also across copies of core and from packages without a dependency on it. */
export function isMultinodeError(value: unknown): value is MultinodeError {
  return value instanceof Error && brand in value
}
