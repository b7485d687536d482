import type { Gap, SubscribeOptions } from '@multinode/core'
import { type Finding, type SetChecker, waitUntil, type Witness } from '@multinode/testbed'
import { Redis } from 'ioredis'
import type { Node } from './node.ts'

const topic = 'orders.changed'

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
  return checker.publisher((mark) => pubsub.publish(topic, mark))
}

/** Resolves when the server has all, also what was buffered because that took long. */
export async function allSent(checker: SetChecker, nodes: readonly Node[]): Promise<void> {
  const isSent = (): boolean => nodes.every(({ pubsub }) => pubsub.stats().outbox === 0)
  await waitUntil('all to be sent', () => isSent() && checker.count('pending') === 0, { deadlineMs: 20_000 })
  checker.allIsSent()
}

/** Resolves when nothing is buffered any more, and all has arrived or is covered by a gap. */
export async function allArrived(checker: SetChecker, nodes: readonly Node[]): Promise<Finding[]> {
  await allSent(checker, nodes)
  return checker.arrived()
}

/** The control: PUBLISH and SUBSCRIBE with bare clients, which subscribe again by themselves when they are connected again. */
export class BarePubSub implements Disposable {
  readonly checker: SetChecker
  readonly publish: () => Promise<void>
  readonly #clients: readonly Redis[]

  private constructor(checker: SetChecker, clients: readonly Redis[], publish: () => Promise<void>) {
    this.checker = checker
    this.publish = publish
    this.#clients = clients
  }

  /** @param faulty where the subscriber connects */
  static async start(checker: SetChecker, url: string, faulty: string): Promise<BarePubSub> {
    // What ioredis subscribes by itself rejects where nobody can catch it, when the client is ended meanwhile.
    const clients = [new Redis(url), new Redis(faulty, { autoResubscribe: false })] as const
    const [sender, receiver] = clients
    for (const client of clients) client.on('error', () => {})
    const witness = checker.subscriber()
    receiver.on('message', (_, text) => witness.saw(JSON.parse(text)))
    await receiver.subscribe('bare')
    receiver.on('ready', () => void receiver.subscribe('bare').catch(() => {}))
    const publish = checker.publisher(async (mark) => {
      await sender.publish('bare', JSON.stringify(mark))
      return { status: 'sent' }
    })
    return new BarePubSub(checker, clients, publish)
  }

  /** How many were lost. */
  get lost(): number {
    return this.checker.findings().reduce((sum, { silent }) => sum + silent, 0)
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.disconnect()
  }
}
