import type { Consumer, Delivery, Publisher, RabbitmqConnection } from '@multinode/connection-rabbitmq'
import {
  type Clock,
  type Gap,
  type GapReason,
  type IncomingSignal,
  MultinodeError,
  pause,
  type SignalReceiver,
  type Timer,
  withDeadline,
} from '@multinode/core'
import { type BusMessage, readBusMessage, toHelloMessage } from './bus-message.ts'
import type { BusQueue } from './bus-queue.ts'
import type { ForeignMessages } from './foreign-messages.ts'
import { SourceLedger } from './source-ledger.ts'

/** What a publisher says of its numbers. */
export interface Heard {
  readonly accepted: number
  /** The last one that it has sent, accepted or not. */
  readonly sent: number
  /** Whether it certainly said so after this reader began to read. */
  readonly isSinceBegin: boolean
}

export interface BusReaderParts {
  readonly connection: RabbitmqConnection
  readonly publisher: Publisher
  readonly queue: BusQueue
  readonly receiver: SignalReceiver
  /** This node's incarnation. */
  readonly source: string
  readonly clock: Clock
  readonly callTimeoutMs: number
  readonly foreign: ForeignMessages
  /** Called where reading begins: of every publisher it must be known now what was accepted, or the loss of its next signals would not show. */
  readonly onBegin: () => void
}

/** How many deliveries may be on their way, or wait for handlers. */
const prefetch = 256
const helloPauseMs = 250
/** For the entry that was read last to come again: a server that has it sends it at once, or as slowly as it does all else. */
const anchorMs = 2_000
const anchorConfirms = 4
/** For what the server has to arrive. */
const patienceMs = 5_000
/** Less than from one regular word of a publisher to the next: several that come at once count as one. */
const suspicionMs = 2_000

/**
 * `seeking`: everything is left out up to the hello that was sent last, which is where reading begins. `anchoring`: the first delivery must be the
 * one that was read last. `reading`: each one is delivered, or shows a loss.
 */
type Phase = 'seeking' | 'anchoring' | 'reading'

interface Received {
  readonly attachment: number
  readonly delivery: Delivery
}

/**
 * Reads the bus from a hello of its own on, for ever. Every attachment sends one: what is read next is then either what was read last (in a stream), or shows
 * that it is lost, also when nobody publishes. AMQP says nothing of that by itself: an offset before a stream is silently moved to its begin, and one behind it never comes.
 */
export class BusReader {
  readonly #parts: BusReaderParts
  readonly #ledger = new SourceLedger()
  readonly #ending = new AbortController()
  readonly #suspects = new Map<string, { readonly last: number | undefined; readonly sinceMs: number }>()
  /** What should have come, by its publisher: the hello that is away is behind it. */
  readonly #missing = new Map<string, number>()
  #consumer: Consumer
  #consumers = 0
  #attachment = 0
  #phase: Phase = 'seeking'
  #anchor: { readonly offset: number; readonly id: string } | undefined
  #hello = ''
  #hellos = 0
  /** Whether it has not come back yet, so that there is more to read. */
  #isHelloAway = false
  /** Once the server has it. */
  #helloSentAtMs: number | undefined
  /** To be told where reading begins. */
  #gap: Gap | undefined
  #received: Received[] = []
  #isWorking = false
  #anchorTimer: Timer | undefined
  #hasBegun = false
  #onBegun: () => void = () => {}

  constructor(parts: BusReaderParts) {
    this.#parts = parts
    this.#consumer = this.#attach()
  }

  /** Resolves when all that is accepted from then on is read, or told as a gap. */
  async begun(timeoutMs: number): Promise<void> {
    const { clock } = this.#parts
    const startedAtMs = clock.monotonicMs()
    const begun = new Promise<void>((resolve) => (this.#onBegun = resolve))
    await this.#consumer.whenAttached(timeoutMs)
    const leftMs = Math.max(1, timeoutMs - (clock.monotonicMs() - startedAtMs))
    await withDeadline(clock, leftMs, begun, () => {
      return new MultinodeError(
        'TIMEOUT',
        'pubsub on rabbitmq: the hello of this node did not come back in time.',
        {
          capability: 'pubsub',
          backend: 'rabbitmq',
        },
      )
    })
  }

  /** To be told every few seconds what a publisher knows to be accepted: what does not come, although nothing else does, is lost, or this reader is stuck. */
  heard(source: string, { accepted, sent, isSinceBegin }: Heard): void {
    const nowMs = this.#parts.clock.monotonicMs()
    const isReading = this.#phase === 'reading'
    // Also while handlers are busy.
    if (isReading && isSinceBegin) this.#ledger.begin(source, sent)
    const isBehind = isReading && this.#ledger.isBehind(source, accepted)
    const suspect = this.#suspects.get(source)
    const last = this.#ledger.last(source)
    if (!isBehind || this.#isWorking || suspect?.last !== last) this.#suspects.delete(source)
    if (this.#isWorking) return
    if (this.#isHelloAway) {
      const isStuck = this.#helloSentAtMs !== undefined && nowMs - this.#helloSentAtMs > patienceMs
      if (isStuck) this.#attachAnew()
      return
    }
    if (!isBehind) return
    const { sinceMs } = this.#suspects.get(source) ?? { sinceMs: nowMs }
    this.#suspects.set(source, { last, sinceMs })
    if (nowMs - sinceMs < suspicionMs) return
    // It may only be late. What was accepted before the hello is sent comes before it, or not at all.
    this.#missing.set(source, accepted)
    void this.#sendHello()
  }

  async close(): Promise<void> {
    this.#ending.abort()
    this.#anchorTimer?.cancel()
    await this.#consumer.close()
  }

  #attachAnew(): void {
    this.#helloSentAtMs = undefined
    this.#becomeDeaf()
    void this.#consumer.close()
    this.#consumer = this.#attach()
  }

  #attach(): Consumer {
    const { connection, queue } = this.#parts
    this.#consumers += 1
    const number = this.#consumers
    // One that was replaced may still be under way.
    const isCurrent = (): boolean => number === this.#consumers
    const attach = {
      get queue() {
        return queue.name
      },
      prefetch,
      exclusive: !queue.isStream,
      setup: async (channel: Parameters<BusQueue['declare']>[0]) => {
        const isKept = await queue.declare(channel)
        if (!isKept && this.#hasBegun && isCurrent()) this.#lose('queue-lost')
      },
      args: () => (isCurrent() ? this.#begin() : {}),
      onAttached: () => isCurrent() && this.#attached(),
      onDetached: () => isCurrent() && this.#detached(),
    }
    return connection.consume(attach, (delivery) => this.#receive(delivery))
  }

  /** An attachment begins: what comes from earlier ones counts no more. */
  #begin(): Record<string, unknown> {
    this.#attachment += 1
    this.#anchorTimer?.cancel()
    const { isStream } = this.#parts.queue
    if (isStream && this.#phase !== 'seeking') this.#phase = 'anchoring'
    if (!isStream) return {}
    return { 'x-stream-offset': this.#phase === 'seeking' ? 'next' : this.#anchor?.offset }
  }

  #attached(): void {
    void this.#sendHello()
  }

  #detached(): void {
    // What does not come now may come at the next attachment.
    this.#anchorTimer?.cancel()
    this.#becomeDeaf()
  }

  /** Until a hello is back: what was accepted before it has come then, or is told as a gap. */
  #becomeDeaf(): void {
    if (!this.#ending.signal.aborted) this.#parts.receiver.hearing(false)
  }

  /** Until it was sent, or another one is. */
  async #sendHello(): Promise<void> {
    const { publisher, queue, source, clock, callTimeoutMs } = this.#parts
    const { signal } = this.#ending
    this.#hellos += 1
    const id = `${source}/hello-${this.#hellos}`
    this.#hello = id
    this.#isHelloAway = true
    this.#helloSentAtMs = undefined
    while (this.#hello === id && !signal.aborted) {
      const startedAtMs = clock.monotonicMs()
      try {
        await publisher.publish(toHelloMessage(queue.name, id), callTimeoutMs)
        if (this.#hello === id) this.#helloIsSent(clock.monotonicMs() - startedAtMs)
        return
      } catch {
        await pause(clock, helloPauseMs, signal)
      }
    }
  }

  #helloIsSent(tookMs: number): void {
    const { clock } = this.#parts
    this.#helloSentAtMs = clock.monotonicMs()
    if (this.#phase !== 'anchoring' || this.#ending.signal.aborted) return
    const attachment = this.#attachment
    // Behind the end of a stream that began anew nothing comes, not even what is sent now.
    const giveUp = (): void => {
      if (this.#phase !== 'anchoring' || attachment !== this.#attachment) return
      this.#lose('epoch')
      this.#attachAnew()
    }
    this.#anchorTimer?.cancel()
    this.#anchorTimer = clock.setTimer(giveUp, Math.max(anchorMs, anchorConfirms * tookMs), 'background')
  }

  #receive(delivery: Delivery): void {
    this.#received.push({ attachment: this.#attachment, delivery })
    if (!this.#isWorking) void this.#work()
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    this.#isWorking = true
    // What came in this turn is delivered together.
    await Promise.resolve()
    while (this.#received.length > 0 && !this.#ending.signal.aborted) {
      const batch = this.#received
      this.#received = []
      const signals = batch.flatMap((each) => this.#judge(each) ?? [])
      if (signals.length > 0) await this.#parts.receiver.receive(signals)
      for (const { delivery } of batch) delivery.ack()
    }
    this.#isWorking = false
  }

  #judge({ attachment, delivery }: Received): IncomingSignal | undefined {
    if (attachment !== this.#attachment) return undefined
    let message: BusMessage
    try {
      message = readBusMessage(delivery.message)
    } catch (error) {
      this.#parts.foreign.tell(error)
      return undefined
    }
    const { id, offset } = message
    if (id === this.#hello) this.#isHelloAway = false
    if (this.#phase === 'anchoring') return this.#anchored(message)
    if (this.#phase === 'seeking' && id !== this.#hello) return undefined
    const before = this.#anchor?.offset
    if (offset !== undefined) this.#anchor = { offset, id }
    if (this.#phase === 'seeking') return this.#reachEnd()
    if (id === this.#hello) this.#judgeMissing(offset, before)
    return message.kind === 'signal' ? this.#follow(message, before) : undefined
  }

  #anchored({ id, offset = -1 }: BusMessage): undefined {
    this.#phase = 'reading'
    this.#anchorTimer?.cancel()
    const anchor = this.#anchor
    if (anchor === undefined || (anchor.offset === offset && anchor.id === id)) return
    this.#lose(offset > anchor.offset && id !== this.#hello ? 'trimmed' : 'epoch')
    // This one may be the hello of this attachment, so another one is needed.
    void this.#sendHello()
  }

  #reachEnd(): undefined {
    this.#phase = 'reading'
    this.#hasBegun = true
    this.#ledger.forget()
    this.#suspects.clear()
    this.#missing.clear()
    if (this.#gap !== undefined) this.#parts.receiver.gap(this.#gap)
    this.#gap = undefined
    this.#parts.receiver.hearing(true)
    this.#parts.onBegin()
    this.#onBegun()
  }

  /** The hello has come that was sent behind what is missing. */
  #judgeMissing(offset: number | undefined, before: number | undefined): void {
    const isLost = [...this.#missing].some(([source, accepted]) => this.#ledger.isBehind(source, accepted))
    this.#missing.clear()
    if (!isLost) return this.#parts.receiver.hearing(true)
    this.#lose(reasonOf(offset, before))
    void this.#sendHello()
  }

  /** @param before the offset of what was read before it, in a stream */
  #follow(message: BusMessage, before: number | undefined): IncomingSignal | undefined {
    const { offset, source, sequence, firstUnaccepted, topic, data } = message
    const signal = { lane: 0, source, sequence, topic, data }
    if (sequence === 0) return signal
    const { isNext, missed } = this.#ledger.take(source, sequence, firstUnaccepted)
    if (missed === 0) return isNext ? signal : undefined
    this.#lose(reasonOf(offset, before))
    void this.#sendHello()
    return undefined
  }

  /** What comes up to the next hello is left out: the app reads it anew. How many these are with those that are lost is not known. */
  #lose(reason: GapReason): void {
    this.#gap ??= { reason, missed: undefined }
    this.#phase = 'seeking'
    this.#becomeDeaf()
  }
}

/** Why something is missing between two messages that were read one after the other. */
function reasonOf(offset: number | undefined, before: number | undefined): GapReason {
  // A stream that is cut under its reader goes on with a later segment. One offset is left out at the begin of each segment anyway.
  const isRewind = offset !== undefined && offset === (before ?? 0) + 1
  return isRewind ? 'rewind' : 'trimmed'
}
