import is from '@sindresorhus/is'
import { MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityName } from '../registry/capability-name.ts'

/** What a validator has to offer: version 1 of Standard Schema (standardschema.dev), which Zod, Valibot, ArkType and others implement. */
export interface Schema<Output> {
  readonly '~standard': {
    readonly version: 1
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
  }
}

type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] }

export function checkSchema<Output>(schema: Schema<Output>, capability: CapabilityName): Schema<Output> {
  const given: unknown = schema
  // Some validators are functions.
  const standard: unknown = is.object(given) ? Reflect.get(given, '~standard') : undefined
  if (is.object(standard) && is.function(Reflect.get(standard, 'validate'))) return schema
  throw new MultinodeError(
    'INVALID_ARGUMENT',
    `schema is of type ${is(given)}; it must be a validator that implements Standard Schema, as those of Zod, Valibot and ArkType do.`,
    { capability, details: { name: 'schema' } },
  )
}

/**
 * @param name of the topic or queue
 * @throws `INVALID_ARGUMENT` with what the validator says
 */
export async function validated<T>(
  schema: Schema<T>,
  value: unknown,
  name: string,
  capability: CapabilityName,
): Promise<T> {
  const result = await schema['~standard'].validate(value)
  if (result.issues === undefined) return result.value
  const reasons = result.issues.map(({ message }) => message).join('; ')
  throw new MultinodeError(
    'INVALID_ARGUMENT',
    `The payload of ${name} does not fit its schema: ${reasons}.`,
    {
      capability,
      details: { name },
    },
  )
}
