import type { RabbitmqConnection } from '@multinode/connection-rabbitmq'
import { isMultinodeError, MultinodeError } from '@multinode/core'
import type { Channel, Options } from 'amqplib'
import type { BusNames } from './bus-names.ts'

/** What a node reads signals from. */
export interface BusQueue {
  readonly name: string
  /** Whether a reader goes on behind what it read last, and finds it there. Else what was not acknowledged comes again. */
  readonly isStream: boolean
  /** @returns whether it was there, so that nothing of it is lost */
  declare(channel: Channel): Promise<boolean>
  /** For good: the node leaves. */
  remove(timeoutMs: number): Promise<void>
}

/** Retention works by whole segments. */
const mostSegmentBytes = 5_000_000
const logAge = '1h'
const homeIsDown = /home node .* is down/s
/** A queue whose node is gone for longer is removed. */
const expiresMs = 300_000

/** One stream that all nodes read. */
export class SharedLog implements BusQueue {
  readonly name: string
  readonly isStream = true
  readonly #names: BusNames
  readonly #options: Options.AssertQueue
  readonly #warn: (message: string) => void
  #isOther = false

  constructor(names: BusNames, logBytes: number, warn: (message: string) => void) {
    this.name = names.log
    this.#names = names
    this.#warn = warn
    this.#options = {
      durable: true,
      arguments: {
        'x-queue-type': 'stream',
        'x-max-length-bytes': logBytes,
        'x-max-age': logAge,
        'x-stream-max-segment-size-bytes': Math.min(mostSegmentBytes, Math.ceil(logBytes / 4)),
      },
    }
  }

  async declare(channel: Channel): Promise<boolean> {
    await channel.assertExchange(this.#names.bus, 'topic', { durable: true })
    if (this.#isOther) await channel.checkQueue(this.name).catch((error: unknown) => this.#missing(error))
    else await channel.assertQueue(this.name, this.#options).catch((error: unknown) => this.#refused(error))
    await channel.bindQueue(this.name, this.#names.bus, '#')
    // Its readers look for the entry that they read last.
    return true
  }

  async remove(): Promise<void> {
    // The others go on reading it.
  }

  /** It takes a moment for a stream to be led again. Other limits, by another version or an operator, are as good. */
  #refused(error: unknown): never {
    if (homeIsDown.test(String(error)))
      throw mended(`pubsub on rabbitmq: no server leads the stream ${this.name} yet; tried again.`, error)
    if (!String(error).includes('PRECONDITION_FAILED')) throw error
    const what = `pubsub on rabbitmq: the stream ${this.name} exists with other limits, and is used as it is.`
    if (!this.#isOther) this.#warn(what)
    this.#isOther = true
    throw mended(what, error)
  }

  /** It was deleted, maybe to be made with our limits. */
  #missing(error: unknown): never {
    if (homeIsDown.test(String(error)) || !String(error).includes('NOT_FOUND')) throw error
    this.#isOther = false
    throw mended(`pubsub on rabbitmq: the stream ${this.name} is gone; made again.`, error)
  }
}

/** A queue of one node's own. */
export class OwnQueue implements BusQueue {
  readonly isStream = false
  readonly #names: BusNames
  readonly #connection: RabbitmqConnection
  readonly #incarnation: string
  readonly #callTimeoutMs: number
  readonly #options: Options.AssertQueue
  #moves = 0

  constructor(
    names: BusNames,
    connection: RabbitmqConnection,
    incarnation: string,
    queueLength: number,
    callTimeoutMs: number,
  ) {
    this.#names = names
    this.#connection = connection
    this.#incarnation = incarnation
    this.#callTimeoutMs = callTimeoutMs
    this.#options = {
      durable: true,
      arguments: { 'x-expires': expiresMs, 'x-max-length': queueLength, 'x-overflow': 'drop-head' },
    }
  }

  get name(): string {
    const name = `${this.#names.bus}.${this.#incarnation}`
    return this.#moves === 0 ? name : `${name}.${this.#moves}`
  }

  async declare(channel: Channel): Promise<boolean> {
    await channel.assertExchange(this.#names.bus, 'topic', { durable: true })
    const wasThere = await this.#isThere()
    await channel.assertQueue(this.name, this.#options).catch((error: unknown) => this.#refused(error))
    await channel.bindQueue(this.name, this.#names.bus, '#')
    return wasThere
  }

  async remove(timeoutMs: number): Promise<void> {
    await this.#once((channel) => channel.deleteQueue(this.name), timeoutMs)
  }

  async #isThere(): Promise<boolean> {
    try {
      await this.#once((channel) => channel.checkQueue(this.name), this.#callTimeoutMs)
      return true
    } catch (error) {
      if (isLost(error)) return false
      throw error
    }
  }

  /** On a channel that the server may close. */
  async #once(work: (channel: Channel) => Promise<unknown>, timeoutMs: number): Promise<void> {
    const channel = this.#connection.channel({ name: `a look at ${this.name}` })
    try {
      await channel.whenReady(timeoutMs)
      await channel.run('looking', timeoutMs, work)
    } finally {
      await channel.close()
    }
  }

  /** A queue is unusable while the node of the server that has it is down: then another one is used. */
  #refused(error: unknown): never {
    if (!homeIsDown.test(String(error))) throw error
    const what = `pubsub on rabbitmq: the server that has the queue ${this.name} is down; another queue is used.`
    this.#moves += 1
    throw mended(what, error)
  }
}

/** One whose server is down counts as lost, too: nobody waits for that server. */
function isLost(error: unknown): boolean {
  return isMultinodeError(error) && (error.code === 'NOT_FOUND' || homeIsDown.test(error.message))
}

/** Nobody has to do anything: one of the next attempts will not meet it. */
function mended(what: string, cause: unknown): MultinodeError {
  return new MultinodeError('UNAVAILABLE', what, { capability: 'pubsub', backend: 'rabbitmq', cause })
}
