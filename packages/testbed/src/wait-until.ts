import { setTimeout as sleep } from 'node:timers/promises'
import { withDeadline } from './deadline.ts'

export interface WaitOptions {
  /** Default 30000. */
  readonly deadlineMs?: number
  /** Pause between two probes. Default 25. */
  readonly everyMs?: number
}

/**
 * Calls the probe until it returns something truthy, and returns that. A probe that throws is asked again.
 * After `deadlineMs` it throws an error that names what was waited for and the probe's last error; a probe
 * still running then is abandoned. The only place in the testbed that polls.
 */
export async function waitUntil<T>(
  what: string,
  probe: () => T | Promise<T>,
  { deadlineMs = 30_000, everyMs = 25 }: WaitOptions = {},
): Promise<NonNullable<T>> {
  const endMs = performance.now() + deadlineMs
  let lastError: Error | undefined
  const message = () =>
    `waited ${deadlineMs} ms for ${what}${lastError ? `; last error: ${lastError.message}` : ''}`
  const ask = async () => {
    try {
      return await probe()
    } catch (error) {
      lastError = error instanceof Error ? error : new Error(String(error))
      return undefined
    }
  }
  for (;;) {
    const leftMs = endMs - performance.now()
    if (leftMs <= 0) throw new Error(message(), { cause: lastError })
    const value = await withDeadline(ask(), leftMs, message)
    if (value) return value
    await sleep(Math.min(everyMs, leftMs))
  }
}
