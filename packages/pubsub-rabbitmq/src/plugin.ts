import { checkRabbitmqOptions, openRabbitmq, type RabbitmqOptions } from '@multinode/connection-rabbitmq'
import { checkCount, MultinodeError, type PubSubPlugin, pluginApi } from '@multinode/core'
import { RabbitmqPubSub } from './rabbitmq-pubsub.ts'

export interface RabbitmqPubSubOptions extends RabbitmqOptions {
  /** `stream`: one log that all nodes read, in one order. `queue`: a queue for each node, for users who may not have streams. The same on all nodes. Default `stream`. */
  readonly mode?: 'stream' | 'queue'
  /** About how many bytes of signals the stream keeps for nodes that were away for a moment. Default 50,000,000. */
  readonly logBytes?: number
  /** How many signals the queue of a node keeps. Default 10,000. */
  readonly queueLength?: number
}

/** Registers signals on RabbitMQ in code: `createCluster({ plugins: [rabbitmqPubSub({ url })] })`. */
export function rabbitmqPubSub(options: RabbitmqPubSubOptions = {}): PubSubPlugin {
  const { mode = 'stream', logBytes, queueLength, ...connection } = options
  const settings = {
    mode: checkMode(mode),
    logBytes: checkCount('logBytes', logBytes ?? 50_000_000, { min: 1_000_000, max: 100_000_000_000 }),
    queueLength: checkCount('queueLength', queueLength ?? 10_000, { min: 100, max: 10_000_000 }),
  }
  return {
    kind: 'multinode-plugin',
    api: pluginApi,
    capability: 'pubsub',
    backend: 'rabbitmq',
    options: { ...checkRabbitmqOptions('rabbitmqPubSub', connection), ...settings },
    create: async (context) => new RabbitmqPubSub(await openRabbitmq(connection, context), context, settings),
  }
}

function checkMode(mode: unknown): 'stream' | 'queue' {
  if (mode === 'stream' || mode === 'queue') return mode
  throw new MultinodeError(
    'INVALID_ARGUMENT',
    `rabbitmqPubSub: mode is ${JSON.stringify(mode)}; it must be stream or queue.`,
    { capability: 'pubsub', backend: 'rabbitmq', details: { name: 'mode' } },
  )
}
