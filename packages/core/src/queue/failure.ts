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
    name: error instanceof Error ? error.name : typeof error,
    message: reasonOf(error).slice(0, maxMessageChars),
    stack: error instanceof Error ? (error.stack ?? '').slice(0, maxStackChars) : '',
  }
}
