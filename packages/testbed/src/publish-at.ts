import { setTimeout as sleep } from 'node:timers/promises'

/** Calls the publishers in turn, at about so many a second in all; resolves when it has called so often. */
export async function publishAt(
  perSecond: number,
  count: number,
  publishers: readonly (() => Promise<void>)[],
): Promise<void> {
  const startedAtMs = performance.now()
  for (let done = 0; done < count; await sleep(5)) {
    const due = Math.min(count, Math.ceil(((performance.now() - startedAtMs) / 1_000) * perSecond))
    for (; done < due; done += 1) void publishers[done % publishers.length]?.()
  }
}
