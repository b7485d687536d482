import { SnowflakeError } from '../src/index.ts'

/** What `call` throws. Fails when it throws nothing, or something else. */
export function errorOf(call: () => unknown): SnowflakeError {
  try {
    call()
  } catch (error) {
    if (error instanceof SnowflakeError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

/** 0 exactly when all are in order and none is there twice. */
export function notGreater(ids: ArrayLike<number> | ArrayLike<bigint>): number {
  let wrong = 0
  for (let each = 1; each < ids.length; each += 1) if (!(after(ids, each) > after(ids, each - 1))) wrong += 1
  return wrong
}

function after(ids: ArrayLike<number> | ArrayLike<bigint>, index: number): number | bigint {
  const id = ids[index]
  if (id === undefined) throw new RangeError(`there is no id ${index}`)
  return id
}
