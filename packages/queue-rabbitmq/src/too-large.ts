import { isMultinodeError } from '@multinode/core'

/** Of a message that others have written, with more than ours may have. */
export function isTooLarge(error: unknown): boolean {
  return isMultinodeError(error) && error.code === 'TOO_LARGE'
}
