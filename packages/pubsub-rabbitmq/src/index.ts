import type { PubSubPlugin } from '@multinode/core'
import { rabbitmqPubSub } from './plugin.ts'

export { rabbitmqPubSub, type RabbitmqPubSubOptions } from './plugin.ts'
export { RabbitmqPubSub } from './rabbitmq-pubsub.ts'

/** What core loads for `PUBSUB_ADAPTER=rabbitmq`. */
const plugin: PubSubPlugin = rabbitmqPubSub()
export default plugin
