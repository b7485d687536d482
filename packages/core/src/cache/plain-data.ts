import is from '@sindresorhus/is'

/** Something that JSON would change without a word: where it is, and what it is. */
export interface Unfit {
  /** In brackets; empty for the value itself. */
  readonly path: string
  readonly what: string
}

/**
 * The first thing in `value` that would not come back from JSON as it is: a number that is none, a bigint, a function, a symbol, `undefined` in an array, an object whose class has
 * methods (Date, Map, Set, Buffer, Error, ...), a kind of array other than the plain one, properties that an array has besides its items, enumerable symbols as names. Not found, because they
 * do not count: properties that are `undefined`, the sign of -0, and a class without methods, whose objects come back as plain ones. A value with a cycle has no end: ask JSON before.
 */
export function findUnfit(value: unknown): Unfit | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined
    case 'number':
      return Number.isFinite(value) ? undefined : { path: '', what: String(value) }
    case 'object':
      if (value === null) return undefined
      return is.array(value) ? findInArray(value) : findInObject(value)
    case 'bigint':
    case 'function':
    case 'symbol':
    case 'undefined':
      return { path: '', what: typeof value }
  }
}

function findInArray(values: readonly unknown[]): Unfit | undefined {
  // By index, because forEach and its like pass over holes, which JSON fills with null.
  for (let index = 0; index < values.length; index += 1) {
    const found = findUnfit(values[index])
    if (found !== undefined) return { path: `[${index}]${found.path}`, what: found.what }
  }
  if (!isPlainArray(values)) return { path: '', what: nameOfClass(values) }
  const keys = Object.keys(values)
  // Indices come first, and none is missing here.
  if (keys.length > values.length) {
    return { path: `[${JSON.stringify(keys[values.length])}]`, what: 'a property of an array' }
  }
  return findSymbol(values)
}

/** The prototype of plain arrays is an array itself, in every realm; those of their classes are none. */
function isPlainArray(values: readonly unknown[]): boolean {
  const prototype: unknown = Object.getPrototypeOf(values)
  return prototype === Array.prototype || is.array(prototype)
}

function findSymbol(object: object): Unfit | undefined {
  for (const symbol of Object.getOwnPropertySymbols(object)) {
    if (Object.prototype.propertyIsEnumerable.call(object, symbol)) {
      return { path: '', what: `the property ${String(symbol)}` }
    }
  }
  return undefined
}

function findInObject(object: object): Unfit | undefined {
  if (hasMethods(object)) return { path: '', what: nameOfClass(object) }
  const values: unknown[] = Object.values(object)
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index]
    const found = value === undefined ? undefined : findUnfit(value)
    if (found !== undefined) {
      return { path: `[${JSON.stringify(Object.keys(object)[index])}]${found.path}`, what: found.what }
    }
  }
  return findSymbol(object)
}

/** Whether its class gives it more than data. The last prototype is that of every object, also in another realm. */
function hasMethods(object: object): boolean {
  let prototype: unknown = Object.getPrototypeOf(object)
  // Nearly always, and the rest costs as much as writing the object as JSON.
  if (prototype === Object.prototype) return false
  while (is.object(prototype)) {
    const next: unknown = Object.getPrototypeOf(prototype)
    if (next === null) return false
    const names = Reflect.ownKeys(prototype)
    if (names.some((name) => name !== 'constructor')) return true
    prototype = next
  }
  return false
}

function nameOfClass(object: object): string {
  const maker: unknown = Reflect.get(object, 'constructor')
  return is.function(maker) && maker.name !== '' ? maker.name : is(object)
}
