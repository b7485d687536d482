import { setTimeout as sleep } from 'node:timers/promises'

const stepMs = 5

/** For how long this process and a server together did not come to their turn: so much later may anything be than where nothing else runs. */
export interface Lateness {
  /** At once, at the most. */
  readonly mostMs: number
  /** In all. As late as a step is long are timers on an idle machine, too: that is not counted. */
  readonly sumMs: number
}

/**
 * Does the work, and watches meanwhile how late this process and the server are, because others use the machine.
 *
 * @param ask a short round trip to the server
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
      await ask()
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
 * For a child that measures itself until its end.
 *
 * @returns tells for how long this process did not come to its turn since; keeps nothing alive
 */
export function watchOwnLateness(): () => number {
  let sumMs = 0
  let lookedAtMs = performance.now()
  const sinceThenMs = (): number => Math.max(0, performance.now() - lookedAtMs - 2 * stepMs)
  setInterval(() => {
    sumMs += sinceThenMs()
    lookedAtMs = performance.now()
  }, stepMs).unref()
  return () => sumMs + sinceThenMs()
}
