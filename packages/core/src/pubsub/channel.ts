import type { PublishResult } from './outbox.ts'
import type { PublishOptions, PubSub } from './pubsub.ts'
import { type Schema, validated } from '../runtime/standard-schema.ts'
import type { SubscribeOptions } from './subscribe-options.ts'
import type { SignalHandler, Subscription } from './subscription.ts'

/** One topic whose payloads have a type: checked when they are published and when they arrive, because another version of the app may have sent them. */
export class Channel<T> {
  readonly topic: string
  readonly #pubsub: PubSub
  readonly #schema: Schema<T>

  constructor(topic: string, schema: Schema<T>, pubsub: PubSub) {
    this.topic = topic
    this.#schema = schema
    this.#pubsub = pubsub
  }

  /** As {@link PubSub.publish}. @throws `INVALID_ARGUMENT` for what does not fit the schema */
  async publish(payload: T, options: PublishOptions = {}): Promise<PublishResult> {
    return this.#pubsub.publish(this.topic, await this.#validated(payload), options)
  }

  /** As {@link PubSub.subscribe}. A payload that does not fit counts as one whose handler rejected. */
  subscribe(handler: SignalHandler<T>, options: SubscribeOptions): Promise<Subscription> {
    return this.#pubsub.subscribe(
      this.topic,
      async (signal) => {
        const payload = await this.#validated(signal.payload)
        await handler({ ...signal, payload })
      },
      options,
    )
  }

  #validated(payload: unknown): Promise<T> {
    return validated(this.#schema, payload, this.topic, 'pubsub')
  }
}
