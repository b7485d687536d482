import type { PubSubPlugin } from '@multinode/core'
import { redisPubSub } from './plugin.ts'

export { redisPubSub, type RedisPubSubOptions } from './plugin.ts'
export { RedisPubSub } from './redis-pubsub.ts'

/** What core loads for `PUBSUB_ADAPTER=redis`. */
const plugin: PubSubPlugin = redisPubSub()
export default plugin
