import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const gc: unknown = runInNewContext('gc')

/** Bytes of buffers that something still refers to. */
export function bytesHeld(): number {
  collectGarbage()
  // What the first one found is freed in the background; the second one waits for that.
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

export function collectGarbage(): void {
  if (typeof gc !== 'function') throw new TypeError('no gc()')
  gc()
}
