import type { RedisConnection } from '@multinode/connection-redis'
import { type Clock, isMultinodeError, MultinodeError, pause, type SignalReceiver } from '@multinode/core'
import { type LogEntry, readEntries } from './log-entry.ts'
import type { LogServer, Position } from './log-server.ts'

/** How long the server lets a reader wait for the next entry. */
const blockMs = 5_000
/** How much later its answer may come before the connection is taken for dead. */
const graceMs = 2_500
const mostEntries = 256
const firstBackoffMs = 50
const longestBackoffMs = 2_000
const leastBetweenChecksMs = 1_000

export interface LogReaderParts {
  readonly server: LogServer
  readonly lane: number
  readonly receiver: SignalReceiver
  readonly clock: Clock
  readonly callTimeoutMs: number
  readonly report: (error: unknown) => void
  /** Called when it begins to read on a connection, from where it was or behind a gap that it has told, and when that is lost. */
  readonly onHearing: (isHearing: boolean) => void
  /** Called for an entry which says that a node came or went. */
  readonly onNodesChanged: () => void
}

/**
 * Reads one log from where it began on, for ever. It has a connection of its own, because a read blocks, and a new one after any doubt: a blocked read on a link
 * that is dead, or on a server that is no master any more, may never be answered.
 */
export class LogReader {
  readonly #parts: LogReaderParts
  readonly #ending = new AbortController()
  #position: Position
  #link: RedisConnection | undefined
  #isDelivering = false
  #hasToldForeign = false
  /** Whether the last read was refused for good, as where a permission is missing: then only the next one that succeeds is hearing. */
  #isRefused = false
  /** Where the log ended, and where it was, when that was last compared. */
  #lastCheck: { readonly head: Position; readonly position: Position; readonly atMs: number } | undefined
  #backoffMs = firstBackoffMs
  readonly #reading: Promise<void>

  /** @param position where to begin */
  constructor(parts: LogReaderParts, position: Position) {
    this.#parts = parts
    this.#position = position
    this.#reading = this.#readForEver()
  }

  /** Where it is now: to be asked for before the server is asked where the log ends. */
  get position(): Position {
    return this.#position
  }

  /**
   * To be told every few seconds where the log ends, and where this reader was when that was asked: a reader that does not come nearer, or is in another
   * log, begins anew. It may have read on meanwhile, and be further than what it is told.
   */
  check(head: Position, before: Position): void {
    const { epoch } = this.#position
    const isSame = head.epoch === before.epoch
    const isElsewhere = isSame ? head.number < before.number : head.epoch !== epoch
    if (isElsewhere || this.#isStuck(head)) void this.#link?.close()
  }

  #isStuck(head: Position): boolean {
    const { epoch, number } = this.#position
    const atMs = this.#parts.clock.monotonicMs()
    const last = this.#lastCheck
    // It may well be under way.
    if (last !== undefined && atMs - last.atMs < leastBetweenChecksMs) return false
    this.#lastCheck = { head, position: this.#position, atMs }
    const wasBehind = last !== undefined && last.head.epoch === epoch && last.head.number > number
    return wasBehind && last.position.number === number && !this.#isDelivering
  }

  async close(): Promise<void> {
    this.#ending.abort()
    await this.#link?.close()
    await this.#reading
  }

  /** Never rejects. */
  async #readForEver(): Promise<void> {
    const { clock } = this.#parts
    while (!this.#ending.signal.aborted) {
      try {
        await this.#readOnce()
      } catch (error) {
        if (!this.#ending.signal.aborted) this.#reportDefect(error)
      }
      await pause(clock, this.#backoffMs * (0.5 + Math.random() / 2), this.#ending.signal)
      this.#backoffMs = Math.min(longestBackoffMs, this.#backoffMs * 2)
    }
  }

  /** On one connection, until it breaks or is in doubt. */
  async #readOnce(): Promise<void> {
    const { server, onHearing } = this.#parts
    const link = await server.connection.duplicate({ blockMs, signal: this.#ending.signal })
    this.#link = link
    try {
      await this.#resume(link)
      if (!this.#isRefused) onHearing(true)
      while (!this.#ending.signal.aborted) {
        const entries = await this.#read(link)
        if (this.#isRefused) onHearing(true)
        this.#isRefused = false
        this.#backoffMs = firstBackoffMs
        if (!(await this.#take(entries))) await this.#resume(link, true)
      }
    } finally {
      this.#link = undefined
      if (!this.#ending.signal.aborted) onHearing(false)
      await link.close()
    }
  }

  /** @param isBroken whether an entry was seen that cannot follow the last one */
  async #resume(link: RedisConnection, isBroken = false): Promise<void> {
    const { server, receiver, callTimeoutMs } = this.#parts
    const { gap, position } = await server.resume(link, this.#position, callTimeoutMs)
    if (gap !== undefined) {
      this.#position = position
      receiver.gap(gap)
    } else if (isBroken) {
      // Somebody removed an entry behind the last one: that is where to go on.
      const fresh = await server.resume(link, undefined, callTimeoutMs)
      receiver.gap({ reason: 'trimmed', missed: fresh.position.number - this.#position.number })
      this.#position = fresh.position
    }
  }

  async #read(link: RedisConnection): Promise<(LogEntry | undefined)[]> {
    const { log } = this.#parts.server.keys
    const args = ['COUNT', mostEntries, 'BLOCK', blockMs, 'STREAMS', log, this.#position.id]
    try {
      return readEntries(await link.commandBuffer('XREAD', args, blockMs + graceMs), this.#parts.lane)
    } catch (error) {
      this.#isRefused = isDefect(error)
      throw error
    }
  }

  /** Delivers them in order; false at the first one that cannot follow. */
  async #take(entries: readonly (LogEntry | undefined)[]): Promise<boolean> {
    const { receiver, onNodesChanged } = this.#parts
    let { number } = this.#position
    const following = entries
      .filter((entry) => entry !== undefined)
      .filter((entry) => {
        const follows = entry.epoch === this.#position.epoch && entry.number === number + 1
        if (follows) number = entry.number
        return follows
      })
    const last = following.at(-1)
    if (last !== undefined) {
      if (following.some(({ signal }) => signal === undefined)) onNodesChanged()
      this.#position = { id: last.id, number: last.number, epoch: last.epoch }
      this.#isDelivering = true
      await receiver.receive(following.map(({ signal }) => signal).filter((signal) => signal !== undefined))
      this.#isDelivering = false
    }
    if (entries.includes(undefined)) this.#reportForeign()
    return following.length === entries.length
  }

  /** Once: there may be many of them. */
  #reportForeign(): void {
    if (this.#hasToldForeign) return
    this.#hasToldForeign = true
    const { server, report } = this.#parts
    report(
      new MultinodeError(
        'INTERNAL',
        `Redis at ${server.connection.address}: the log ${server.keys.log} has an entry that no publisher of ours wrote. It is passed over, and subscribers are told a gap: ` +
          'find out who else writes there.',
        { capability: 'pubsub', backend: 'redis' },
      ),
    )
  }

  /** That the server is away is nothing to report: who calls hears of it, and health says it. */
  #reportDefect(error: unknown): void {
    if (!isDefect(error)) return
    if (isMultinodeError(error)) return this.#parts.report(error)
    this.#parts.report(
      new MultinodeError('INTERNAL', `pubsub on redis: reading the log failed: ${String(error)}`, {
        cause: error,
        capability: 'pubsub',
        backend: 'redis',
      }),
    )
  }
}

/** Whether it lasts, until somebody mends it. */
function isDefect(error: unknown): boolean {
  return !isMultinodeError(error) || (!error.retryable && error.code !== 'CLOSED')
}
