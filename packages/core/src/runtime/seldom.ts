import { isMultinodeError } from '../errors/multinode-error.ts'
import { reasonOf } from '../errors/to-driver-error.ts'
import type { Clock } from './clock.ts'

const betweenReportsMs = 1_000

/** Passes trouble of one kind on once a second: what lasts meets every call, and there may be thousands. */
export function seldom(report: (error: unknown) => void, clock: Clock): (error: unknown) => void {
  const toldAtMs = new Map<string, number>()
  return (error) => {
    const nowMs = clock.monotonicMs()
    for (const [kind, atMs] of toldAtMs) if (nowMs - atMs >= betweenReportsMs) toldAtMs.delete(kind)
    const kind = kindOf(error)
    if (toldAtMs.has(kind)) return
    toldAtMs.set(kind, nowMs)
    report(error)
  }
}

function kindOf(error: unknown): string {
  if (!isMultinodeError(error)) return reasonOf(error)
  const { code, details } = error
  return JSON.stringify([code, details['namespace'], details['operation']])
}
