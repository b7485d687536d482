import is from '@sindresorhus/is'
import { maskSecretsIn } from './mask-secrets.ts'
import { isMultinodeError, MultinodeError } from './multinode-error.ts'

/** Where an error came up, for people who read it. */
export interface ErrorOrigin {
  capability: string
  backend: string
  operation: string
}

/**
 * What a portable type rejects with when its driver failed. A driver's own typed errors pass unchanged; anything
 * else is a defect of the driver and is wrapped, exactly once, as `INTERNAL`.
 */
export function toDriverError(error: unknown, origin: ErrorOrigin): MultinodeError {
  if (isMultinodeError(error)) return error
  return new MultinodeError(
    'INTERNAL',
    `${origin.capability} on ${origin.backend}: ${origin.operation} failed: ${reasonOf(error)}. ` +
      'This is a defect of the adapter: please report it with the cause.',
    { cause: error, capability: origin.capability, backend: origin.backend },
  )
}

/** A thrown value in words, whatever was thrown, and without the secrets of addresses that it quotes. */
export function reasonOf(error: unknown): string {
  if (error instanceof Error) return maskSecretsIn(error.message)
  // An object need not have a text form, and asking for one may throw.
  return is.primitive(error) ? maskSecretsIn(String(error)) : is(error)
}
