import { checkRabbitmqOptions, openRabbitmq, type RabbitmqOptions } from '@multinode/connection-rabbitmq'
import { MultinodeError, pluginApi, type QueuePlugin } from '@multinode/core'
import { RabbitmqQueue } from './rabbitmq-queue.ts'

export interface RabbitmqQueueOptions extends RabbitmqOptions {
  /** `passive`: queues and exchanges are not made, only looked for, for users who may not configure. Default `declare`. */
  readonly topology?: 'declare' | 'passive'
}

/** Registers queues on RabbitMQ in code: `createCluster({ plugins: [rabbitmqQueue({ url })] })`. */
export function rabbitmqQueue(options: RabbitmqQueueOptions = {}): QueuePlugin {
  const { topology = 'declare', ...connection } = options
  const isPassive = checkTopology(topology) === 'passive'
  return {
    kind: 'multinode-plugin',
    api: pluginApi,
    capability: 'queue',
    backend: 'rabbitmq',
    options: { ...checkRabbitmqOptions('rabbitmqQueue', connection), topology },
    create: async (context) =>
      RabbitmqQueue.open(await openRabbitmq(connection, context), context, isPassive),
  }
}

function checkTopology(topology: unknown): 'declare' | 'passive' {
  if (topology === 'declare' || topology === 'passive') return topology
  throw new MultinodeError(
    'INVALID_ARGUMENT',
    `rabbitmqQueue: topology is ${JSON.stringify(topology)}; it must be declare or passive.`,
    { capability: 'queue', backend: 'rabbitmq', details: { name: 'topology' } },
  )
}
