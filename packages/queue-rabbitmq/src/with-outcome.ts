import { isMultinodeError, MultinodeError, type Outcome } from '@multinode/core'

/** An error of a step, with what is true of the job that it was for. */
export function withOutcome(error: unknown, outcome: Outcome): unknown {
  if (!isMultinodeError(error) || error.outcome === outcome) return error
  const { code, message, capability, backend, details } = error
  return new MultinodeError(code, message, { capability, backend, details, outcome, cause: error })
}

/** That the last attempt was not sent says nothing about those before. */
export function unsure(error: unknown): unknown {
  return isMultinodeError(error) && error.outcome === 'not-sent' ? withOutcome(error, 'unknown') : error
}
