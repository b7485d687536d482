/** Calls a method as plain JavaScript can: with any arguments at all. */
export function callUntyped(target: object, method: string, args: readonly unknown[]): unknown {
  const called: unknown = Reflect.get(target, method)
  if (typeof called !== 'function') throw new Error(`no ${method}`)
  return Reflect.apply(called, target, args)
}
