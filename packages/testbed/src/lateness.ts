import { setTimeout as sleep } from 'node:timers/promises'

export const stepMs = 5
/** Also where a test replaces the clock. */
const now = performance.now.bind(performance)

/** For how long this process and a server together did not come to their turn, whatever else they did: so much later may anything be than where nothing else runs. */
export interface Lateness {
  /** At once, at the most. */
  readonly mostMs: number
  /** In all. As late as a step is long are timers on an idle machine, too: that is not counted. */
  readonly sumMs: number
}

/**
 * Does the work, and watches meanwhile how late this process and the server are, because others use the machine: other processes, or tests beside this one.
 * What the work itself computes in one go counts, too, since nothing tells it from that.
 *
 * @param ask a short round trip to the server, not over what is measured
 */
export async function withLateness<T>(
  ask: () => Promise<unknown>,
  work: () => Promise<T>,
): Promise<Lateness & { readonly result: T }> {
  let isDone = false
  let mostMs = 0
  let sumMs = 0
  const watch = async (): Promise<void> => {
    while (!isDone) {
      const startedAtMs = performance.now()
      await sleep(stepMs)
      // One that fails says nothing of how late they are.
      await ask().catch(() => {})
      const lateMs = performance.now() - startedAtMs - stepMs
      mostMs = Math.max(mostMs, lateMs)
      sumMs += Math.max(0, lateMs - stepMs)
    }
  }
  const watching = watch()
  let result: T
  try {
    result = await work()
  } finally {
    isDone = true
    // The look that is under way counts: the work may be shorter than it.
    await watching
  }
  return { result, mostMs, sumMs }
}

/** As {@link withLateness} for work that only waits for this process: no server need be on time. */
export async function withOwnLateness<T>(work: () => Promise<T>): Promise<Lateness & { readonly result: T }> {
  return await withLateness(async () => {}, work)
}

/**
 * For a process that measures itself.
 *
 * @returns for how long it wanted its turn since the last look and did not have it: what it computed itself is not counted
 */
export function ownLateness(): () => number {
  let lookedAtMs = now()
  let used = process.threadCpuUsage()
  return () => {
    const computed = process.threadCpuUsage(used)
    const lateMs = now() - lookedAtMs - (computed.user + computed.system) / 1_000 - 2 * stepMs
    lookedAtMs = now()
    used = process.threadCpuUsage()
    return Math.max(0, lateMs)
  }
}

/**
 * For a child that measures itself until its end.
 *
 * @returns tells for how long this process did not come to its turn since, though it wanted it; keeps nothing alive
 */
export function watchOwnLateness(): () => number {
  const lateMs = ownLateness()
  let sumMs = 0
  const look = (): number => (sumMs += lateMs())
  setInterval(look, stepMs).unref()
  return look
}
