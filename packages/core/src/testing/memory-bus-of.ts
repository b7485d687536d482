import { MultinodeError } from '../errors/multinode-error.ts'
import type { MemoryBus } from '../pubsub/memory-bus.ts'
import { MemoryPubSub } from '../pubsub/memory-pubsub.ts'
import type { PubSub } from '../pubsub/pubsub.ts'

/**
 * Plays a backend in trouble for an app's own tests: cut nodes off, delay or drop signals, make gaps.
 * @throws `UNSUPPORTED` when the signals are not on memory
 */
export function memoryBusOf({ driver }: PubSub): MemoryBus {
  if (driver instanceof MemoryPubSub) return driver.native
  throw new MultinodeError(
    'UNSUPPORTED',
    'These signals are not on memory: their backend has troubles of its own.',
    {
      capability: 'pubsub',
    },
  )
}
