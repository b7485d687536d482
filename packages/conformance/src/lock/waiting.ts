import { setTimeout as sleep } from 'node:timers/promises'
import type { AcquireReply, LockDriver } from '@multinode/core'
import { callMs, type LockWorld } from './lock-world.ts'

/** A lease that must be extended is longer than a busy machine stands still. */
export const mostStillMs = 2_400

const patienceMs = 4_000
const everyMs = 20

/** Asks again and again until the answer is right, and rejects when it is not in time. What this process and the server are late by does not count, up to twice as much again. */
export async function untilReply<Reply>(
  ask: () => Promise<Reply>,
  isRight: (reply: Reply) => boolean,
): Promise<Reply> {
  const beganAtMs = performance.now()
  for (let passedMs = 0; ;) {
    const startedAtMs = performance.now()
    const reply = await ask()
    if (isRight(reply)) return reply
    // What the driver itself is late by looks the same.
    if (passedMs > patienceMs || performance.now() - beganAtMs > 3 * patienceMs) {
      throw new Error(`after ${patienceMs} ms the answer is still ${JSON.stringify(reply)}`)
    }
    await sleep(everyMs)
    passedMs += Math.min(performance.now() - startedAtMs, 2 * everyMs)
  }
}

/** Asks as a waiter does that is not told. */
export function untilGranted(ask: () => Promise<AcquireReply>): Promise<AcquireReply> {
  return untilReply(ask, ({ status }) => status === 'granted')
}

/** Until so much time has passed by the clock of the server, as a lease shows that runs out. */
export async function serverTimePasses(world: LockWorld, driver: LockDriver, ms: number): Promise<void> {
  const [first, second] = [world.owner(), world.owner()]
  const key = `time-${first}`
  await driver.acquire({ key, owner: first, ttlMs: ms, waitMs: 0 }, callMs)
  await untilGranted(() => driver.acquire({ key, owner: second, ttlMs: 10, waitMs: 0 }, callMs))
}
