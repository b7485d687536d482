import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'

const stepMs = 5

/** Does the work, and tells for how long at most this process and the server together did not come to their turn meanwhile: so much later may it be. */
export async function withLateness<T>(
  client: Redis,
  work: () => Promise<T>,
): Promise<{ result: T; mostMs: number }> {
  let isDone = false
  let mostMs = 0
  const watch = async (): Promise<void> => {
    while (!isDone) {
      const startedAtMs = performance.now()
      await sleep(stepMs)
      await client.ping()
      mostMs = Math.max(mostMs, performance.now() - startedAtMs - stepMs)
    }
  }
  const watching = watch()
  try {
    return { result: await work(), mostMs }
  } finally {
    isDone = true
    await watching
  }
}
