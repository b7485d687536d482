import { setTimeout as sleep } from 'node:timers/promises'

const everyMs = 10

/** Resolves as soon as it is so, and rejects when it is not in time. */
export async function until(what: string, isSo: () => boolean, patienceMs = 30_000): Promise<void> {
  const untilMs = performance.now() + patienceMs
  while (!isSo()) {
    if (performance.now() > untilMs) throw new Error(`after ${patienceMs} ms it is still not so: ${what}`)
    await sleep(everyMs)
  }
}
