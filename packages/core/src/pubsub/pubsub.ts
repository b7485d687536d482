import { MultinodeError } from '../errors/multinode-error.ts'
import { toDriverError } from '../errors/to-driver-error.ts'
import { checkArray, checkBoolean, checkFunction, checkKey, checkKnownOptions } from '../runtime/check.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { pause } from '../runtime/clock.ts'
import { withDeadline } from '../runtime/deadline.ts'
import { DriverCalls } from '../runtime/driver-calls.ts'
import { randomBetween } from '../runtime/random.ts'
import { Channel } from './channel.ts'
import { decode, encode, type Envelope } from './envelope.ts'
import { Hearing, type HearingListener } from './hearing.ts'
import { KnownSequences } from './known-sequences.ts'
import { Members, type NodesListener } from './members.ts'
import { Outbox, type PublishResult } from './outbox.ts'
import type { Gap, IncomingSignal, Member, PubSubDriver } from './pubsub-driver.ts'
import { checkSchema, type Schema } from '../runtime/standard-schema.ts'
import { readSubscribeOptions, type SubscribeOptions } from './subscribe-options.ts'
import { type Signal, type SignalHandler, Subscription, type SubscriptionCounts } from './subscription.ts'
import { checkTopic, matches } from './topic.ts'

export interface PublishOptions {
  /** Of signals with one topic and key a subscriber that coalesces needs the last only. */
  readonly key?: string
  /** The node ids that it is for. Default: all. */
  readonly to?: readonly string[]
  /** Sent once, and neither kept while the backend is away nor covered by any guarantee. */
  readonly transient?: boolean
}

/** Counters since start, and what is so now. */
export interface PubSubStats {
  readonly published: number
  readonly buffered: number
  readonly received: number
  readonly duplicates: number
  readonly handled: number
  readonly failed: number
  readonly gaps: number
  readonly subscriptions: number
  /** How many published signals wait for the backend. */
  readonly outbox: number
  /** How many received signals wait for handlers. */
  readonly waiting: number
}

const defaultMaxBytes = 65_536
/** Topics whose subscriptions are remembered. */
const mostRoutes = 1_000

/**
 * Signals to all nodes of the cluster. While a node is a member, every signal that was accepted (`publish` resolved with `sent`) is handled by each of its
 * subscriptions at least once and in order, **or** the subscription gets `onGap` before any later signal. Signals are hints: a handler refetches what they are about, and
 * must bear to see one twice after a restart.
 *
 * Every call settles within the cluster's `callTimeoutMs`, plus a tenth, whatever the backend does.
 */
export class PubSub {
  readonly #driver: PubSubDriver
  readonly #context: CapabilityContext
  readonly #calls: DriverCalls
  readonly #outboxes: readonly Outbox[]
  readonly #subscriptions = new Set<Subscription>()
  readonly #routes = new Map<string, readonly Subscription[]>()
  readonly #known: readonly KnownSequences[]
  readonly #members: Members
  readonly #hearing: Hearing
  readonly #counts: SubscriptionCounts = { handled: 0, failed: 0, gaps: 0 }
  readonly #joined: Promise<void>
  #joinFailure: MultinodeError | undefined
  readonly #joining = new AbortController()
  #isDraining = false
  #ended: MultinodeError | undefined
  #published = 0
  #buffered = 0
  #received = 0
  #duplicates = 0

  constructor(driver: PubSubDriver, context: CapabilityContext) {
    this.#driver = driver
    this.#context = context
    this.#calls = new DriverCalls(context)
    this.#members = new Members(context.report)
    this.#hearing = new Hearing(context.report)
    const encodeLoss = (lost: number): Uint8Array => this.#encode(undefined, {}, lost)
    this.#outboxes = Array.from(
      { length: driver.lanes },
      (_, lane) => new Outbox({ lane, driver, context, encodeLoss }),
    )
    this.#known = this.#outboxes.map(() => new KnownSequences())
    this.#joined = this.#join()
    // Who subscribes is told.
    this.#joined.catch(() => {})
  }

  /** The driver underneath, with its typed `native` client. */
  get driver(): PubSubDriver {
    return this.#driver
  }

  /**
   * Sends a signal to all nodes. Resolves with `sent` when the backend has it, and with `buffered` when that is away: the signal is then kept, and sent in
   * its turn. Signals of one node that were published one after the other arrive in that order (with several shards, those of each one). One round trip.
   *
   * @param topic words joined by dots: `orders.changed`
   * @param payload what JSON can express, or bytes (`Uint8Array`); 64 KiB at most, all in all
   * @throws `TOO_LARGE`, `INVALID_ARGUMENT` for what has no JSON form, `REJECTED` by the backend
   */
  async publish(topic: string, payload?: unknown, options: PublishOptions = {}): Promise<PublishResult> {
    checkTopic(topic)
    checkPublishOptions(options)
    if (this.#ended !== undefined) throw this.#ended
    const data = this.#encode(payload, options)
    const most = Math.min(defaultMaxBytes, this.#driver.maxDataBytes)
    if (data.byteLength > most) throw tooLarge(topic, data.byteLength, most)
    this.#published += 1
    const lane = laneOf(topic, this.#outboxes.length)
    if (options.transient === true) return this.#publishOnce(lane, topic, data)
    const outbox = this.#outboxes[lane]
    if (outbox === undefined) throw new MultinodeError('INTERNAL', `The driver has no lane ${lane}.`)
    const result = await outbox.add(topic, data)
    if (result.status === 'buffered') this.#buffered += 1
    return result
  }

  /**
   * Calls `handler` with every signal whose topic fits the pattern, one after the other, from when this has resolved on.
   *
   * @param pattern as a topic; `*` stands for one word, `#` for none or more
   * @throws `UNAVAILABLE` or `TIMEOUT` when the backend could not be reached in time
   */
  async subscribe(pattern: string, handler: SignalHandler, options: SubscribeOptions): Promise<Subscription> {
    const settings = readSubscribeOptions(pattern, handler, options)
    await this.#untilJoined()
    options.signal?.throwIfAborted()
    const onAbort = (): void => void subscription.close()
    const subscription = new Subscription(settings, this.#context, this.#counts, (each) => {
      this.#remove(each)
      options.signal?.removeEventListener('abort', onAbort)
    })
    this.#subscriptions.add(subscription)
    this.#routes.clear()
    options.signal?.addEventListener('abort', onAbort, { once: true })
    return subscription
  }

  /** A topic whose payloads are checked by a validator: any that implements Standard Schema. */
  channel<T>(topic: string, options: { readonly schema: Schema<T> }): Channel<T> {
    checkTopic(topic)
    checkKnownOptions('channel', options, ['schema'])
    return new Channel(topic, checkSchema(options.schema, 'pubsub'), this)
  }

  /** The nodes that are there, this one included, as the backend said last; empty until it has. */
  nodes(): readonly Member[] {
    return this.#members.nodes
  }

  /** Whether this node cannot say that it is there: see {@link onNodes}. */
  get isIsolated(): boolean {
    return this.#members.isIsolated
  }

  /** Calls `listener` when nodes come and go, and when this one is isolated. @returns ends that */
  onNodes(listener: NodesListener): () => void {
    checkFunction('listener', listener)
    return this.#members.listen(listener)
  }

  /**
   * Whether signals reach this node: not before it has joined, not while it is isolated, and not while the driver knows that it cannot read. A link on which
   * nothing arrives any more is noticed only after some seconds.
   */
  get isHearing(): boolean {
    return this.#hearing.isHearing
  }

  /** Calls `listener` whenever {@link isHearing} changes. When it is true again, what was missed comes next, or the subscriptions were told a gap. @returns ends that */
  onHearing(listener: HearingListener): () => void {
    checkFunction('listener', listener)
    return this.#hearing.listen(listener)
  }

  stats(): PubSubStats {
    const subscriptions = [...this.#subscriptions]
    return {
      published: this.#published,
      buffered: this.#buffered,
      received: this.#received,
      duplicates: this.#duplicates,
      ...this.#counts,
      subscriptions: subscriptions.length,
      outbox: this.#outboxes.reduce((sum, { size }) => sum + size, 0),
      waiting: subscriptions.reduce((sum, { waiting }) => sum + waiting, 0),
    }
  }

  /**
   * Handles nothing new, lets running handlers end, and sends what is buffered, for `deadlineMs` at most. Publishing stays possible.
   * @returns the patterns whose handlers still run, and how many signals were not sent
   */
  async drain(deadlineMs: number): Promise<string[]> {
    this.#isDraining = true
    const subscriptions = [...this.#subscriptions]
    const [done, unsent] = await Promise.all([
      Promise.all(subscriptions.map((each) => each.finished(deadlineMs))),
      Promise.all(this.#outboxes.map((outbox) => outbox.flush(deadlineMs))),
    ])
    const running = subscriptions.filter((_, index) => done[index] === false).map(({ pattern }) => pattern)
    const left = unsent.reduce((sum, count) => sum + count, 0)
    return left === 0 ? running : [...running, `${left} signals that were not sent`]
  }

  /** Ends all subscriptions and leaves; what is buffered is sent if that takes no longer than `callTimeoutMs`. Idempotent, never rejects. */
  async close(): Promise<void> {
    if (this.#ended !== undefined) return
    const { callTimeoutMs, report } = this.#context
    const ended = new MultinodeError('CLOSED', 'pubsub: this cluster object is closed.', {
      capability: 'pubsub',
    })
    this.#ended = ended
    this.#joining.abort()
    // A node that is joining now must be there before it can leave.
    const [left] = await Promise.all([this.drain(callTimeoutMs), this.#joinedOrNot()])
    for (const outbox of this.#outboxes) outbox.end(ended)
    if (left.length > 0) {
      report(new MultinodeError('LOST', `Closed with ${left.join(', ')}.`, { capability: 'pubsub' }))
    }
    await this.#calls.call('leave', callTimeoutMs, () => this.#driver.leave(callTimeoutMs)).catch(report)
  }

  /** Again and again, so that a node that started while the backend was away becomes a member. */
  async #join(): Promise<void> {
    const receiver = {
      receive: (signals: readonly IncomingSignal[]) => this.#receive(signals),
      gap: (gap: Gap) => this.#gap(gap),
      members: (members: readonly Member[]) => this.#members.become(members),
      isolated: (isIsolated: boolean) => this.#becomeIsolated(isIsolated),
      hearing: (isHearing: boolean) => this.#hearing.set('deaf', !isHearing),
    }
    const { clock, callTimeoutMs, capability, backend, metadata } = this.#context
    while (this.#ended === undefined) {
      try {
        await this.#driver.join(receiver, metadata, callTimeoutMs)
        this.#becomeIsolated(false)
        this.#hearing.set('not-joined', false)
        return
      } catch (error) {
        this.#joinFailure = toDriverError(error, { capability, backend, operation: 'join' })
        this.#becomeIsolated(true)
        if (!this.#joinFailure.retryable) throw this.#joinFailure
        await pause(clock, randomBetween(250, 1_000), this.#joining.signal)
      }
    }
  }

  #becomeIsolated(isIsolated: boolean): void {
    this.#hearing.set('isolated', isIsolated)
    this.#members.becomeIsolated(isIsolated)
  }

  async #untilJoined(): Promise<void> {
    if (this.#ended !== undefined) throw this.#ended
    if (this.#isDraining) {
      throw new MultinodeError('CLOSED', 'pubsub: this cluster object is draining.', { capability: 'pubsub' })
    }
    const { clock, callTimeoutMs, backend } = this.#context
    await withDeadline(clock, callTimeoutMs, this.#joined, () => {
      return new MultinodeError(
        'UNAVAILABLE',
        `pubsub on ${backend}: this node is no member yet, because the backend cannot be reached. Subscribe again later.`,
        { capability: 'pubsub', backend, cause: this.#joinFailure },
      )
    })
    if (this.#ended !== undefined) throw this.#ended
  }

  /** Never rejects. */
  async #joinedOrNot(): Promise<void> {
    const { clock, callTimeoutMs } = this.#context
    await withDeadline(clock, callTimeoutMs, this.#joined, () => new Error('late')).catch(() => {})
  }

  async #publishOnce(lane: number, topic: string, data: Uint8Array): Promise<PublishResult> {
    const { callTimeoutMs } = this.#context
    const request = { lane, signals: [{ sequence: 0, topic, data }], firstUnaccepted: 0 }
    const reply = await this.#calls.call('publish', callTimeoutMs, () =>
      this.#driver.publish(request, callTimeoutMs),
    )
    if (reply.failure !== undefined) throw reply.failure.error
    return { status: 'sent' }
  }

  #encode(payload: unknown, { key, to }: PublishOptions, lost?: number): Uint8Array {
    return encode({ nodeId: this.#context.node.nodeId, key, to, lost, payload })
  }

  async #receive(signals: readonly IncomingSignal[]): Promise<void> {
    for (const signal of signals) {
      this.#received += 1
      if (this.#known[signal.lane]?.isRepeated(signal) === true) {
        this.#duplicates += 1
        continue
      }
      if (this.#subscriptions.size === 0) continue
      const full = this.#deliver(signal).filter((room) => room !== undefined)
      if (full.length > 0) await Promise.all(full)
    }
  }

  #deliver(incoming: IncomingSignal): (Promise<void> | undefined)[] {
    const subscriptions = this.#subscriptionsOf(incoming.topic)
    let envelope: Envelope
    try {
      envelope = decode(incoming.data)
    } catch (error) {
      const { capability, backend, report } = this.#context
      report(toDriverError(error, { capability, backend, operation: 'decode' }))
      for (const each of subscriptions) each.gap({ reason: 'handler-failed', missed: 1 })
      return []
    }
    const { nodeId, key, to, lost, payload } = envelope
    if (lost !== undefined) {
      this.#gap({ reason: 'publisher-loss', missed: lost })
      return []
    }
    const { node } = this.#context
    if (to !== undefined && !to.includes(node.nodeId)) return []
    const { topic, source } = incoming
    const signal: Signal = { topic, payload, key, from: { nodeId, incarnation: source } }
    const isOwn = source === node.incarnation
    return subscriptions.map((each) => (each.wants(isOwn) ? each.offer(signal) : undefined))
  }

  #gap(gap: Gap): void {
    for (const subscription of this.#subscriptions) subscription.gap(gap)
  }

  #subscriptionsOf(topic: string): readonly Subscription[] {
    const known = this.#routes.get(topic)
    if (known !== undefined) return known
    const found = [...this.#subscriptions].filter(({ pattern }) => matches(pattern, topic))
    if (this.#routes.size >= mostRoutes) this.#routes.clear()
    this.#routes.set(topic, found)
    return found
  }

  #remove(subscription: Subscription): void {
    this.#subscriptions.delete(subscription)
    this.#routes.clear()
  }
}

function checkPublishOptions(options: PublishOptions): void {
  checkKnownOptions('publish', options, ['key', 'to', 'transient'])
  if (options.key !== undefined) checkKey('key', options.key)
  if (options.to !== undefined) checkArray('to', options.to)
  for (const nodeId of options.to ?? []) checkKey('to', nodeId)
  if (options.transient !== undefined) checkBoolean('transient', options.transient)
}

/** FNV-1a: the same on every node, and in every version. */
function laneOf(topic: string, lanes: number): number {
  if (lanes === 1) return 0
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(topic)) hash = Math.imul(hash ^ byte, 0x01000193)
  return (hash >>> 0) % lanes
}

function tooLarge(topic: string, bytes: number, most: number): MultinodeError {
  return new MultinodeError(
    'TOO_LARGE',
    `The signal of ${topic} has ${bytes} bytes, and ${most} are allowed: publish where the data is, and have subscribers fetch it.`,
    { capability: 'pubsub', details: { topic, bytes, most } },
  )
}
