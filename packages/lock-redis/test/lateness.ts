import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'

const stepMs = 5

/**
 * Does the work, and tells for how long meanwhile this process or the server did not come to its turn, because others used the machine:
 * so much later than on an idle one the work may be done.
 */
export async function withLateness<T>(
  client: Redis,
  work: () => Promise<T>,
): Promise<{ result: T; lateMs: number }> {
  let isDone = false
  let lateMs = 0
  const watch = async (): Promise<void> => {
    while (!isDone) {
      const startedAt = performance.now()
      await sleep(stepMs)
      await client.ping()
      // As late as a step is long are timers on an idle machine, too.
      lateMs += Math.max(0, performance.now() - startedAt - 2 * stepMs)
    }
  }
  const watching = watch()
  try {
    return { result: await work(), lateMs }
  } finally {
    isDone = true
    await watching
  }
}
