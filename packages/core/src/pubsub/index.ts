export type { Channel } from './channel.ts'
export type { HearingListener } from './hearing.ts'
export type { NodesChange, NodesListener } from './members.ts'
export type { PublishResult } from './outbox.ts'
export type {
  Gap,
  GapReason,
  IncomingSignal,
  Member,
  OutgoingSignal,
  PublishReply,
  PublishRequest,
  PubSubDriver,
  PubSubFeatures,
  PubSubPlugin,
  SignalReceiver,
} from './pubsub-driver.ts'
export { type PublishOptions, PubSub, type PubSubStats } from './pubsub.ts'
export type { SubscribeOptions } from './subscribe-options.ts'
export type { GapHandler, Signal, SignalHandler, Subscription } from './subscription.ts'
