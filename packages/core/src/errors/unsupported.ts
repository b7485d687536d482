import type { CapabilityContext } from '../runtime/capability-context.ts'
import { MultinodeError } from './multinode-error.ts'

/** For a method that is always there, on a backend that lacks what it needs. */
export function unsupported({ capability, backend }: CapabilityContext, what: string): MultinodeError {
  return new MultinodeError(
    'UNSUPPORTED',
    `${capability} on ${backend} has no ${what.replace(/^an? /, '')}: choose an adapter that has it.`,
    { capability, backend },
  )
}
