import type { Gap, SubscribeOptions } from '@multinode/core'
import { type Finding, type SetChecker, waitUntil, type Witness } from '@multinode/testbed'
import type { Node } from './node.ts'

/** A subscription of the node that a witness sees; the gaps come in the order in which the app is told. */
export async function watch(
  checker: SetChecker,
  { pubsub }: Node,
  options: Partial<SubscribeOptions> = {},
): Promise<{ readonly witness: Witness; readonly gaps: Gap[] }> {
  const witness = checker.subscriber()
  const gaps: Gap[] = []
  const onGap = (gap: Gap): void => {
    gaps.push(gap)
    witness.gap()
  }
  await pubsub.subscribe('orders.*', ({ payload }) => witness.saw(payload), {
    onGap,
    self: 'include',
    maxQueue: 100_000,
    ...options,
  })
  return { witness, gaps }
}

/** @returns publishes the next signal of the node */
export function publisher(checker: SetChecker, { pubsub }: Node): () => Promise<void> {
  return checker.publisher((mark) => pubsub.publish('orders.changed', mark))
}

/** Resolves when the server has all, also what was buffered because that took long. */
export async function allSent(checker: SetChecker, nodes: readonly Node[]): Promise<void> {
  const isSent = (): boolean => nodes.every(({ pubsub }) => pubsub.stats().outbox === 0)
  await waitUntil('all to be sent', () => isSent() && checker.count('pending') === 0, { deadlineMs: 40_000 })
  checker.allIsSent()
}

/** Resolves when nothing is buffered any more, and all has arrived or is covered by a gap. */
export async function allArrived(checker: SetChecker, nodes: readonly Node[]): Promise<Finding[]> {
  await allSent(checker, nodes)
  return checker.arrived(30_000)
}
