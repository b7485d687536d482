import { setTimeout as sleep } from 'node:timers/promises'

const everyMs = 10

/**
 * Resolves as soon as it is so, and rejects when it is not in time. What this process is late by does not count, up to twice as much again: on a busy machine all others are as late.
 *
 * @param ask a short round trip to the server, for times that are promised: what the server is late by does not count then either
 */
export async function until(
  what: string,
  isSo: () => boolean,
  patienceMs = 30_000,
  ask?: () => Promise<unknown>,
): Promise<void> {
  const beganAtMs = performance.now()
  for (let passedMs = 0; !isSo();) {
    // What the driver itself is late by looks the same.
    const isOver = passedMs > patienceMs || performance.now() - beganAtMs > 3 * patienceMs
    if (isOver) throw new Error(`after ${patienceMs} ms it is still not so: ${what}`)
    const startedAtMs = performance.now()
    await sleep(everyMs)
    await ask?.()
    passedMs += Math.min(performance.now() - startedAtMs, 2 * everyMs)
  }
}
