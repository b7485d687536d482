import { setTimeout as sleep } from 'node:timers/promises'
import type { AcquireReply, LockDriver } from '@multinode/core'
import { callMs, type LockWorld } from './lock-world.ts'

const patienceMs = 4_000
const everyMs = 20

/** Asks again and again until the answer is right, and rejects when it is not in time. */
export async function untilReply<Reply>(
  ask: () => Promise<Reply>,
  isRight: (reply: Reply) => boolean,
): Promise<Reply> {
  const untilMs = performance.now() + patienceMs
  for (;;) {
    const reply = await ask()
    if (isRight(reply)) return reply
    if (performance.now() > untilMs) {
      throw new Error(`after ${patienceMs} ms the answer is still ${JSON.stringify(reply)}`)
    }
    await sleep(everyMs)
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
