import is from '@sindresorhus/is'
import { MultinodeError } from '../errors/multinode-error.ts'

/** The longest delay that Node's timers can count, about 24.8 days. */
const maxTimerMs = 2_147_483_647

const loneSurrogate = /\p{Surrogate}/u

function invalid(name: string, value: unknown, accepted: string): MultinodeError {
  const shown = is.string(value) ? JSON.stringify(value.slice(0, 80)) : wordFor(value)
  return new MultinodeError('INVALID_ARGUMENT', `${name} is ${shown}; it must be ${accepted}.`, {
    details: { name },
  })
}

/** An object need not have a text form, and its content may be secret. */
function wordFor(value: unknown): string {
  return is.primitive(value) ? String(value) : `of type ${is(value)}`
}

/** A whole number of milliseconds within the bounds, or `INVALID_ARGUMENT`. */
export function checkMs(name: string, value: unknown, bounds: { min: number; max?: number }): number {
  const max = bounds.max ?? maxTimerMs
  if (is.integer(value) && value >= bounds.min && value <= max) return value
  throw invalid(name, value, `a whole number of milliseconds from ${bounds.min} to ${max}`)
}

/** A whole number within the bounds, or `INVALID_ARGUMENT`. */
export function checkCount(name: string, value: unknown, bounds: { min: number; max: number }): number {
  if (is.integer(value) && value >= bounds.min && value <= bounds.max) return value
  throw invalid(name, value, `a whole number from ${bounds.min} to ${bounds.max}`)
}

export function checkBoolean(name: string, value: unknown): boolean {
  if (is.boolean(value)) return value
  throw invalid(name, value, 'true or false')
}

/** A moment, as a Date or in ms since 1970: returns the latter. */
export function checkDate(name: string, value: unknown): number {
  const ms = value instanceof Date ? value.getTime() : value
  if (is.safeInteger(ms) && ms >= 0) return ms
  throw invalid(name, value, 'a valid Date, or whole milliseconds since 1970')
}

export function checkChoice<T extends string>(name: string, value: T, accepted: readonly T[]): T {
  if (accepted.includes(value)) return value
  throw invalid(name, value, `one of ${accepted.join(', ')}`)
}

/**
 * A user's key: 1 to 1,024 characters of any kind. A lone surrogate is refused, because it has no UTF-8 form and two
 * different keys would become one on a server.
 */
export function checkKey(name: string, value: unknown): string {
  if (is.string(value) && value.length >= 1 && value.length <= 1024 && !loneSurrogate.test(value))
    return value
  throw invalid(name, value, 'a string of 1 to 1,024 well-formed characters')
}

export function checkFunction(name: string, value: unknown): void {
  if (!is.function(value)) throw invalid(name, value, 'a function')
}

/** `undefined` or an AbortSignal. */
export function checkSignal(name: string, value: unknown): void {
  if (value !== undefined && !(value instanceof AbortSignal)) throw invalid(name, value, 'an AbortSignal')
}

export function checkName(name: string, value: unknown, pattern: RegExp): string {
  if (is.string(value) && pattern.test(value)) return value
  throw invalid(name, value, `text that matches ${pattern.source}`)
}

export function checkArray(name: string, value: unknown): void {
  if (!is.array(value)) throw invalid(name, value, 'an array')
}

export function checkObject(name: string, value: unknown): void {
  if (!is.object(value)) throw invalid(name, value, 'an object')
}

export function checkString(name: string, value: unknown): void {
  if (!is.string(value)) throw invalid(name, value, 'text')
}

/** Refuses option names that do not exist: a misspelt option must not be silently without effect. */
export function checkKnownOptions(owner: string, options: object, known: readonly string[]): void {
  checkObject(`the options of ${owner}`, options)
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue
    throw new MultinodeError(
      'INVALID_ARGUMENT',
      `${owner} has no option ${JSON.stringify(name)}; it knows ${known.join(', ')}.`,
      { details: { name } },
    )
  }
}
