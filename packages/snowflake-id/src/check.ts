import { SnowflakeError } from './snowflake-error.ts'

/** The last moment that a Date can tell. */
export const maxDateMs = 8_640_000_000_000_000

export function invalid(name: string, value: unknown, accepted: string): SnowflakeError {
  return new SnowflakeError('INVALID_ARGUMENT', `${name} is ${shown(value)}; it must be ${accepted}.`, {
    name,
    value,
  })
}

/** An object may have no text form. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80))
  if (typeof value === 'bigint') return `${value}n`
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return String(value)
  return `of type ${typeof value}`
}

/** A whole number within the bounds, or `INVALID_ARGUMENT`. */
export function checkCount(name: string, value: unknown, bounds: { min: number; max: number }): number {
  if (isWhole(value) && value >= bounds.min && value <= bounds.max) return value
  throw invalid(name, value, `a whole number from ${bounds.min} to ${bounds.max}`)
}

/** A moment, as a Date or in ms since 1970: returns the latter. */
export function checkDate(name: string, value: unknown): number {
  const ms = value instanceof Date ? value.getTime() : value
  if (isWhole(ms) && ms >= 0 && ms <= maxDateMs) return ms
  // What an invalid Date says of itself is no help.
  throw invalid(name, ms, 'a valid Date, or whole milliseconds since 1970')
}

export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw invalid(name, value, 'a function')
}

/** `undefined` or an AbortSignal. */
export function checkSignal(name: string, value: unknown): void {
  if (value !== undefined && !(value instanceof AbortSignal)) throw invalid(name, value, 'an AbortSignal')
}

/** An object without properties of other names: a misspelt option must not be silently without effect. */
export function checkKnownOptions(owner: string, options: unknown, known: readonly string[]): void {
  if (!isObject(options)) throw invalid(`the options of ${owner}`, options, 'an object')
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue
    throw new SnowflakeError(
      'INVALID_ARGUMENT',
      `${owner} has no ${JSON.stringify(name)}; it knows ${known.join(', ')}.`,
      { name },
    )
  }
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value)
}
