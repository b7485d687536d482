import { MultinodeError } from '../errors/multinode-error.ts'
import { type Clock, pause } from '../runtime/clock.ts'
import type {
  Gap,
  IncomingSignal,
  Member,
  PublishReply,
  PublishRequest,
  SignalReceiver,
} from './pubsub-driver.ts'

interface Entry {
  readonly number: number
  readonly signal: IncomingSignal
}

/** One node's place in the log. */
export interface Reader {
  readonly member: Member
  readonly receiver: SignalReceiver
  /** The number of the last entry that it was given. */
  position: number
  isCut: boolean
  isDeaf: boolean
  isReading: boolean
}

/** As long as that of a backend is by default; entries that all nodes have read are forgotten at once. */
const mostEntries = 10_000
const mostAtOnce = 256

/** The signals of one cluster name within this process: a log, and where each node is in it. What is below `For tests` plays a backend in trouble. */
export class MemoryBus {
  readonly #clock: Clock
  readonly #readers = new Set<Reader>()
  readonly #accepted = new Map<string, number>()
  #entries: Entry[] = []
  #last = 0
  #delayMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  join(member: Member, receiver: SignalReceiver): Reader {
    const reader: Reader = {
      member,
      receiver,
      position: this.#last,
      isCut: false,
      isDeaf: false,
      isReading: false,
    }
    this.#readers.add(reader)
    this.#tellMembers()
    return reader
  }

  leave(reader: Reader): void {
    this.#readers.delete(reader)
    this.#accepted.delete(reader.member.incarnation)
    this.#tellMembers()
    this.#trim()
  }

  publish(reader: Reader, { lane, signals, firstUnaccepted }: PublishRequest): PublishReply {
    if (reader.isCut) {
      const error = new MultinodeError('UNAVAILABLE', 'This node is cut off, by the test.', {
        outcome: 'not-sent',
      })
      return { accepted: 0, failure: { error, isFinal: false } }
    }
    const source = reader.member.incarnation
    let accepted = 0
    for (const { sequence, topic, data } of signals) {
      const known = this.#accepted.get(source) ?? firstUnaccepted - 1
      if (sequence > known + 1 && sequence !== firstUnaccepted) break
      accepted += 1
      if (sequence > 0 && sequence <= known) continue
      if (sequence > 0) this.#accepted.set(source, sequence)
      this.#last += 1
      this.#entries.push({ number: this.#last, signal: { lane, source, sequence, topic, data } })
    }
    for (const each of this.#readers) void this.#read(each)
    this.#trim()
    return accepted === signals.length ? { accepted } : { accepted, failure: outOfTurn() }
  }

  /** For tests: the node neither hears nor is heard, until {@link heal}. */
  cut(nodeId: string): void {
    for (const reader of this.#readersOf(nodeId)) {
      reader.isCut = true
      reader.receiver.hearing(false)
      reader.receiver.isolated(true)
    }
    this.#tellMembers()
  }

  /** For tests: the node hears nothing, and knows it, until {@link heal}; the others hear it. */
  deafen(nodeId: string): void {
    for (const reader of this.#readersOf(nodeId)) {
      reader.isDeaf = true
      reader.receiver.hearing(false)
    }
  }

  /** For tests: ends {@link cut}, {@link deafen} and {@link delay}. Nodes catch up. */
  heal(): void {
    this.#delayMs = 0
    for (const reader of this.#readers) {
      if (reader.isCut) reader.receiver.isolated(false)
      if (reader.isCut || reader.isDeaf) reader.receiver.hearing(true)
      reader.isCut = false
      reader.isDeaf = false
    }
    this.#tellMembers()
    for (const reader of this.#readers) void this.#read(reader)
  }

  /** For tests: everything arrives so much later, until {@link heal}. */
  delay(ms: number): void {
    this.#delayMs = ms
  }

  /** For tests: as if this many of the latest signals that the node has not had yet, or all of them, were lost with the end of the log. */
  drop(nodeId: string, count: number = Infinity): void {
    for (const reader of this.#readersOf(nodeId)) {
      const missed = Math.min(count, this.#last - reader.position)
      reader.position += missed
      reader.receiver.gap({ reason: 'rewind', missed })
    }
  }

  /** For tests: the node is told that signals may be missing, though none are. */
  gap(nodeId: string, gap: Gap): void {
    for (const reader of this.#readersOf(nodeId)) reader.receiver.gap(gap)
  }

  /** Never rejects: a receiver does not. */
  async #read(reader: Reader): Promise<void> {
    if (reader.isReading) return
    reader.isReading = true
    // Not in the turn of who publishes.
    await Promise.resolve()
    while (reader.position < this.#last && this.#isReached(reader)) {
      if (this.#delayMs > 0) await pause(this.#clock, this.#delayMs)
      const first = this.#entries[0]?.number ?? this.#last + 1
      if (reader.position + 1 < first) {
        const missed = this.#last - reader.position
        reader.position = this.#last
        reader.receiver.gap({ reason: 'trimmed', missed })
        continue
      }
      const from = reader.position + 1 - first
      const batch = this.#entries.slice(from, from + mostAtOnce)
      reader.position += batch.length
      await reader.receiver.receive(batch.map(({ signal }) => signal))
    }
    reader.isReading = false
    this.#trim()
  }

  #isReached(reader: Reader): boolean {
    return this.#readers.has(reader) && !reader.isCut && !reader.isDeaf
  }

  #trim(): void {
    const slowest = Math.min(this.#last, ...[...this.#readers].map(({ position }) => position))
    const first = Math.max(slowest + 1, this.#last + 1 - mostEntries)
    const surplus = first - (this.#entries[0]?.number ?? first)
    if (surplus > 0) this.#entries = this.#entries.slice(surplus)
  }

  #readersOf(nodeId: string): Reader[] {
    const found = [...this.#readers].filter(({ member }) => member.nodeId === nodeId)
    if (found.length > 0) return found
    throw new MultinodeError('NOT_FOUND', `There is no node ${JSON.stringify(nodeId)} in this process.`)
  }

  /** A node that is cut off is dead for the others, and knows of nobody. */
  #tellMembers(): void {
    const there = [...this.#readers].filter(({ isCut }) => !isCut).map(({ member }) => member)
    for (const { isCut, receiver } of this.#readers) if (!isCut) receiver.members(there)
  }
}

function outOfTurn(): NonNullable<PublishReply['failure']> {
  const error = new MultinodeError(
    'UNAVAILABLE',
    'One before it was not accepted yet: both are sent again.',
    {
      capability: 'pubsub',
      backend: 'memory',
      outcome: 'not-sent',
    },
  )
  return { error, isFinal: false }
}
