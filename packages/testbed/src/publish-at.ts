import { setTimeout as sleep } from 'node:timers/promises'

type Publisher = () => Promise<void>

/** Calls the publishers in turn, at about so many a second in all; resolves when it has called so often. */
export async function publishAt(
  perSecond: number,
  count: number,
  publishers: readonly Publisher[],
): Promise<void> {
  await publishUpTo(perSecond, publishers, () => count)
}

/** The same for as long as the work takes: so none is over before a fault that is to meet it, however late that is. @returns what the work returns */
export async function publishWhile<T>(
  perSecond: number,
  publishers: readonly Publisher[],
  work: () => Promise<T>,
): Promise<T> {
  let isOver = false
  const [result] = await Promise.all([
    work().finally(() => (isOver = true)),
    publishUpTo(perSecond, publishers, () => (isOver ? 0 : Infinity)),
  ])
  return result
}

async function publishUpTo(
  perSecond: number,
  publishers: readonly Publisher[],
  most: () => number,
): Promise<void> {
  const startedAtMs = performance.now()
  for (let done = 0; done < most(); await sleep(5)) {
    const due = Math.min(most(), Math.ceil(((performance.now() - startedAtMs) / 1_000) * perSecond))
    for (; done < due; done += 1) void publishers[done % publishers.length]?.()
  }
}
