import type { JobPriority } from '@multinode/core'
import type { Channel, Options } from 'amqplib'
import { dueKeyPattern } from './delay-digits.ts'
import type { ClusterNames, QueueNames } from './queue-names.ts'

/**
 * Never reached: crashes are counted by those who take jobs, because each worker has a limit of its own, and a job that was returned did not crash. Without a limit
 * RabbitMQ 4 has one of 20, and -1 means none there and drops the job on 3.x: so the same number on all, which an upgrade does not change.
 */
export const deliveryLimit = 2_147_483_647

/** One queue with its dead letters, as the server has to have it. */
export interface LineTopology {
  readonly names: QueueNames
  /** Those that are used, in the order in which they are served. */
  readonly priorities: readonly JobPriority[]
  /** Idempotent. Where it is passive it only looks whether all is there. */
  declare(channel: Channel): Promise<void>
}

export function lineTopology(
  cluster: ClusterNames,
  { name, hasPriorities }: { readonly name: string; readonly hasPriorities: boolean },
  isPassive: boolean,
): LineTopology {
  const names = cluster.queue(name)
  const priorities: readonly JobPriority[] = hasPriorities ? ['high', 'normal', 'low'] : ['normal']
  return {
    names,
    priorities,
    async declare(channel) {
      if (isPassive) {
        for (const queue of [names.dead, ...priorities.map((each) => names.work[each])]) {
          await channel.checkQueue(queue)
        }
        return
      }
      await channel.assertExchange(cluster.deliver, 'topic', { durable: true })
      await channel.assertQueue(names.dead, quorumQueue({ 'x-delivery-limit': deliveryLimit }))
      for (const priority of priorities) {
        await channel.assertQueue(names.work[priority], workQueue(names.dead))
        await channel.bindQueue(names.work[priority], cluster.deliver, dueKeyPattern(names.key[priority]))
      }
    },
  }
}

/** What its operator's policies make a dead letter of goes to ours, and what is too much for it is refused. */
function workQueue(dead: string): Options.AssertQueue {
  return quorumQueue({
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': dead,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
    'x-delivery-limit': deliveryLimit,
  })
}

export function quorumQueue(args: Readonly<Record<string, string | number>>): Options.AssertQueue {
  return {
    durable: true,
    arguments: { 'x-queue-type': 'quorum', 'x-queue-leader-locator': 'balanced', ...args },
  }
}
