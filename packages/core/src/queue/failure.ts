import is from '@sindresorhus/is'
import { reasonOf } from '../errors/to-driver-error.ts'
import type { DeadReason, Failure } from './queue-driver.ts'

const maxMessageChars = 1_024
const maxStackChars = 4_096

export function failureOf(
  error: unknown,
  about: {
    readonly reason: DeadReason
    readonly nodeId: string
    readonly attempts: number
    readonly atMs: number
  },
): Failure {
  return {
    ...about,
    name: error instanceof Error && is.string(error.name) ? error.name : typeof error,
    message: messageOf(error).slice(0, maxMessageChars),
    // Not always text: whoever throws may have put anything there.
    stack: error instanceof Error && is.string(error.stack) ? error.stack.slice(0, maxStackChars) : '',
  }
}

/** Whatever was thrown: a failure without words must not leave its job without a settlement. */
function messageOf(error: unknown): string {
  try {
    return reasonOf(error)
  } catch {
    return 'What was thrown has no text form.'
  }
}
