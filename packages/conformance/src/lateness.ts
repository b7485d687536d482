import { setTimeout as sleep } from 'node:timers/promises'

const stepMs = 5

/** Does the work, and measures how late this process came to its turn meanwhile, all in all: so much later may anything be that it does by its timers. As in the testbed, which is not published. */
export async function withLateness<T>(
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly lateMs: number }> {
  let isDone = false
  let lateMs = 0
  const watch = async (): Promise<void> => {
    while (!isDone) {
      const startedAtMs = performance.now()
      await sleep(stepMs)
      // As late as a step is long are timers on an idle machine, too.
      lateMs += Math.max(0, performance.now() - startedAtMs - 2 * stepMs)
    }
  }
  const watching = watch()
  const result = await work().finally(() => {
    isDone = true
  })
  await watching
  return { result, lateMs }
}
