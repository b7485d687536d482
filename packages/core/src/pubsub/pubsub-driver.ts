import type { Driver } from '../registry/driver.ts'
import type { Plugin } from '../registry/plugin.ts'

/** What a backend of signals guarantees. */
export interface PubSubFeatures {
  /** Who hears a signal: the nodes of this process, or all nodes of the cluster. */
  readonly scope: 'process' | 'cluster'
  /** `total`: all nodes see all signals of a lane in the same order. `publisher`: only those of one publisher are in order. */
  readonly order: 'total' | 'publisher'
  readonly [feature: string]: string
}

/** One process of the cluster, as the others see it. */
export interface Member {
  readonly nodeId: string
  /** Random for every start. */
  readonly incarnation: string
  /** When it joined, by the backend's clock, in ms since 1970. */
  readonly sinceMs: number
  readonly metadata: Readonly<Record<string, unknown>>
}

export interface OutgoingSignal {
  /** Of this publisher and lane: the one before, plus 1. 0 for a transient one, which is neither numbered nor repeated. */
  readonly sequence: number
  readonly topic: string
  readonly data: Uint8Array
}

/** What was published by one node in one lane, in order. */
export interface PublishRequest {
  readonly lane: number
  readonly signals: readonly OutgoingSignal[]
  /** The lowest number that was not known to be accepted before. */
  readonly firstUnaccepted: number
}

/**
 * `accepted`: how many from the first on were accepted, now or by an earlier attempt. `failure`: what happened to the one after them; `isFinal`
 * when it was refused for good, and none after it was accepted.
 */
export interface PublishReply {
  readonly accepted: number
  readonly failure?: { readonly error: Error; readonly isFinal: boolean }
}

export interface IncomingSignal {
  readonly lane: number
  /** The publisher's incarnation. */
  readonly source: string
  readonly sequence: number
  readonly topic: string
  readonly data: Uint8Array
}

/**
 * Why signals may be missing. `trimmed`: the log was cut before they were read. `epoch`: the log was lost and begins anew. `rewind`: the end
 * of the log was lost. `queue-lost`: the node's queue was lost. `publisher-loss`: a publisher dropped some while the backend was away. `overflow`: the subscription was too
 * slow. `handler-failed`: its handler rejected.
 */
export type GapReason =
  | 'trimmed'
  | 'epoch'
  | 'rewind'
  | 'queue-lost'
  | 'publisher-loss'
  | 'overflow'
  | 'handler-failed'

export interface Gap {
  readonly reason: GapReason
  /** How many signals, of any topic, where that is known. */
  readonly missed: number | undefined
}

/** What a driver tells core. None of them throws or rejects. */
export interface SignalReceiver {
  /** In order; the driver reads no further before it has resolved. */
  receive(signals: readonly IncomingSignal[]): Promise<void>
  /** Between the last ones received and the next ones some may be missing; the driver has moved to the end of the log already. */
  gap(gap: Gap): void
  /** All that are there now, this node included. Not before `join` is about to resolve. */
  members(members: readonly Member[]): void
  /** Whether this node can no longer say that it is there, so that the others take it for dead. */
  isolated(isIsolated: boolean): void
  /**
   * `false` as soon as the driver knows that it can read no signals, or that some are lost which it has not told yet; `true` when it reads on: what was missed
   * was received by then, comes next, or was told as a gap. It counts as `true` after `join`, so a driver that cannot be cut off need not call it.
   */
  hearing(isHearing: boolean): void
}

/**
 * What a backend does for {@link PubSub}: a log of signals that each node reads from where it joined. Between the nodes that are members, nothing that was accepted
 * is lost without {@link SignalReceiver.gap}.
 */
export interface PubSubDriver extends Driver {
  readonly features: PubSubFeatures
  /** How many logs there are; a topic is always in the same one. */
  readonly lanes: number
  /** The longest `data`. */
  readonly maxDataBytes: number
  /**
   * Makes this node a member, and reads from the end of the log on. Called once; resolves when every signal that is accepted from now on reaches the receiver, or a
   * gap does. Rejects when the backend cannot be reached in time, and may then be called again. After it has resolved, the driver heals by itself, for ever.
   */
  join(
    receiver: SignalReceiver,
    metadata: Readonly<Record<string, unknown>>,
    timeoutMs: number,
  ): Promise<void>
  /**
   * Appends in order. Idempotent by incarnation, lane and sequence: what was accepted before counts as accepted, and a number is accepted only
   * after all before it. Settles within `timeoutMs`.
   */
  publish(request: PublishRequest, timeoutMs: number): Promise<PublishReply>
  /** Tells the others that this node goes. Reading ends. */
  leave(timeoutMs: number): Promise<void>
}

export type PubSubPlugin = Plugin<PubSubDriver> & { readonly capability: 'pubsub' }
