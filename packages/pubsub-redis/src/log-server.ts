import { randomBytes } from 'node:crypto'
import { type RedisConnection, RedisScript } from '@multinode/connection-redis'
import { type Clock, MultinodeError } from '@multinode/core'
import { leaveLua } from './leave.lua.ts'
import type { LogKeys } from './log-keys.ts'
import { publishLua } from './publish.lua.ts'
import { resumeLua } from './resume.lua.ts'
import { tickLua } from './tick.lua.ts'

const publishScript = new RedisScript('publish', publishLua)
const resumeScript = new RedisScript('resume', resumeLua)
const tickScript = new RedisScript('tick', tickLua)
const leaveScript = new RedisScript('leave', leaveLua)

/** Where a reader is: the entry that it read last. */
export interface Position {
  readonly id: string
  readonly number: number
  readonly epoch: string
}

export interface Resumed {
  /** Why there is a gap, if there is one. */
  readonly gap:
    | { readonly reason: 'epoch' | 'trimmed' | 'rewind'; readonly missed: number | undefined }
    | undefined
  readonly position: Position
}

export interface Ticked {
  readonly head: Position
  /** What is known of each node that is there, as it was given. */
  readonly nodes: readonly string[]
}

/** The last sequence that was accepted of this node, the epoch in which it was, and when it was sent. */
export interface Accepted {
  readonly sequence: number
  readonly epoch: string
  readonly sentAtMs: number
}

export interface PublishArguments {
  readonly sequence: number
  readonly firstUnaccepted: number
  /** The one before that. */
  readonly accepted: Accepted
  readonly topic: string
  readonly data: Uint8Array
}

/** How long after its last tick a node counts as dead. */
export const aliveMs = 10_000
/** How long it is remembered what was accepted of a node that went. */
const forgetMs = 3_600_000

/** One log on the server: the scripts, and what their replies mean. Each call is one round trip. */
export class LogServer {
  readonly connection: RedisConnection
  readonly keys: LogKeys
  readonly #source: string
  readonly #logLength: number
  readonly #clock: Clock

  constructor(connection: RedisConnection, keys: LogKeys, source: string, logLength: number, clock: Clock) {
    this.connection = connection
    this.keys = keys
    this.#source = source
    this.#logLength = logLength
    this.#clock = clock
  }

  /** @returns the epoch in which it was accepted, now or before; `undefined` when one before it is missing */
  async publish(signal: PublishArguments, timeoutMs: number): Promise<string | undefined> {
    const { sequence, firstUnaccepted, accepted, topic, data } = signal
    const sentAgoMs = this.#agoMs(accepted.sentAtMs)
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    const reply = await this.connection.script(
      publishScript,
      [this.keys.log, this.keys.meta],
      [
        this.#source,
        sequence,
        firstUnaccepted,
        accepted.epoch,
        topic,
        bytes,
        this.#logLength,
        newEpoch(),
        sentAgoMs,
      ],
      timeoutMs,
    )
    const [status, epoch] = Array.isArray(reply) ? reply : []
    if (status === -1) return undefined
    if ((status === 1 || status === 0) && typeof epoch === 'string') return epoch
    throw this.#unexpected(publishScript, reply)
  }

  /** On the connection of the reader, so that what follows on it is from the same server. */
  async resume(on: RedisConnection, position: Position | undefined, timeoutMs: number): Promise<Resumed> {
    const { id, number, epoch } = position ?? { id: '', number: 0, epoch: '' }
    const keys = [this.keys.log, this.keys.meta]
    const reply = await on.script(
      resumeScript,
      keys,
      [id, number, epoch, newEpoch(), this.#source, this.#logLength],
      timeoutMs,
    )
    const [what, newId, newNumber, currentEpoch, missed] = Array.isArray(reply) ? reply : []
    const next = { id: String(newId), number: Number(newNumber), epoch: String(currentEpoch) }
    if (what === 'ok' || what === 'fresh') return { gap: undefined, position: next }
    if (what !== 'epoch' && what !== 'trimmed' && what !== 'rewind')
      throw this.#unexpected(resumeScript, reply)
    return { gap: { reason: what, missed: missed === -1 ? undefined : Number(missed) }, position: next }
  }

  async tick(known: string, { sequence, epoch, sentAtMs }: Accepted, timeoutMs: number): Promise<Ticked> {
    const { log, meta, seen, nodes } = this.keys
    const reply = await this.connection.script(
      tickScript,
      [log, meta, seen, nodes],
      [
        this.#source,
        known,
        aliveMs,
        forgetMs,
        sequence,
        epoch,
        this.#logLength,
        newEpoch(),
        this.#agoMs(sentAtMs),
      ],
      timeoutMs,
    )
    const [clockMs, headEpoch, number, id, ...others] = Array.isArray(reply) ? reply : []
    if (typeof clockMs !== 'number' || typeof id !== 'string') throw this.#unexpected(tickScript, reply)
    const head = { id, number: Number(number), epoch: String(headEpoch) }
    return { head, nodes: others.map(String) }
  }

  async leave(timeoutMs: number): Promise<void> {
    const { log, meta, nodes } = this.keys
    await this.connection.script(
      leaveScript,
      [log, meta, nodes],
      [this.#source, this.#logLength, newEpoch()],
      timeoutMs,
    )
  }

  /** Rounded so that it is rather too short. */
  #agoMs(atMs: number): number {
    return Math.floor(this.#clock.monotonicMs() - atMs)
  }

  #unexpected(script: RedisScript, reply: unknown): MultinodeError {
    return new MultinodeError(
      'INTERNAL',
      `Redis at ${this.connection.address}: the script ${script.name} answered ${JSON.stringify(reply)}, which it never does: ` +
        'something else writes to keys of this cluster, or the server is no Redis.',
      { capability: 'pubsub', backend: 'redis' },
    )
  }
}

const epochPrefix = randomBytes(6).toString('base64url')
let epochNames = 0

/** One for each call, most of which need none: random bytes for each would be a tenth of what it costs. */
function newEpoch(): string {
  epochNames += 1
  return `${epochPrefix}.${epochNames.toString(36)}`
}
