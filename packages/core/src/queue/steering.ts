import { checkMs } from '../runtime/check.ts'

const brand = Symbol.for('multinode.queue.steering')

/** Thrown by a handler: no further attempt will help, so the job becomes a dead letter at once. */
export class UnrecoverableJobError extends Error {
  override readonly name = 'UnrecoverableJobError'

  constructor(message?: string, options?: ErrorOptions) {
    super(message, options)
    Object.defineProperty(this, brand, { value: 'dead' })
  }
}

/** Thrown by a handler: the job comes again after `delayMs`, and none of its attempts is used up. */
export class RetryLater extends Error {
  override readonly name = 'RetryLater'
  readonly delayMs: number

  constructor(delayMs: number, message = `again in ${delayMs} ms`) {
    super(message)
    Object.defineProperty(this, brand, { value: 'later' })
    this.delayMs = checkMs('delayMs', delayMs, { min: 0 })
  }
}

/** Also those of another copy of core. */
export function isUnrecoverable(error: unknown): error is UnrecoverableJobError {
  return steeringOf(error) === 'dead'
}

export function isRetryLater(error: unknown): error is RetryLater {
  return steeringOf(error) === 'later'
}

function steeringOf(error: unknown): unknown {
  return error instanceof Error && brand in error ? error[brand] : undefined
}
