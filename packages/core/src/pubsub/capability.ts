import type { Capability } from '../capability.ts'
import { checkVerbs } from '../registry/driver.ts'
import { memoryPubSub } from './memory-pubsub.ts'
import type { PubSubDriver } from './pubsub-driver.ts'
import { PubSub } from './pubsub.ts'

const verbs: readonly (keyof PubSubDriver)[] = ['join', 'publish', 'leave']

export const pubsubCapability: Capability<PubSub> = {
  name: 'pubsub',
  memory: memoryPubSub,
  portable(driver, context) {
    checkVerbs<PubSubDriver>(driver, verbs, context)
    return new PubSub(driver, context)
  },
}
