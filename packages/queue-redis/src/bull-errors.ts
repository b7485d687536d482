import { isMultinodeError, MultinodeError } from '@multinode/core'

/** Thrown to BullMQ: the attempt failed, and the next one comes after the delay that core decided. */
export class RetryJob extends Error {
  override readonly name = 'RetryJob'
  readonly delayMs: number

  constructor(delayMs: number) {
    super('to be tried again')
    this.delayMs = delayMs
  }
}

/** What a script of BullMQ answered that refused: the job, its lock or its state is not what it should be. Nothing was changed. */
export function isRefusal(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' && error.code < 0
}

/** For errors that no server sent: connection-redis takes those for a broken connection. */
export function fromBull(error: unknown, operation: string): unknown {
  if (!isRefusal(error) || isMultinodeError(error)) return error
  return refused(operation, error.message, error)
}

export function refused(operation: string, reason: string, cause?: Error): MultinodeError {
  return new MultinodeError('REJECTED', `queue on redis: ${operation} was refused: ${reason}.`, {
    capability: 'queue',
    backend: 'redis',
    outcome: 'not-sent',
    ...(cause === undefined ? {} : { cause }),
  })
}
