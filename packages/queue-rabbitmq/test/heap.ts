import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

/** What is still used after collection. */
export async function heapUsed(): Promise<number> {
  // Some of it can be collected only when what was collected before has been noticed.
  for (let time = 0; time < 4; time += 1) {
    await turn()
    if (typeof collect === 'function') Reflect.apply(collect, undefined, [])
  }
  return process.memoryUsage().heapUsed
}
