import type { RabbitmqConnection, SupervisedChannel } from '@multinode/connection-rabbitmq'
import { type Clock, isMultinodeError, MultinodeError, withDeadline } from '@multinode/core'
import type { Channel } from 'amqplib'
import { countdown, isOver } from './countdown.ts'
import { levelCount, passPattern, tickMs, waitPattern } from './delay-digits.ts'
import type { ClusterNames } from './queue-names.ts'
import { deliveryLimit, quorumQueue } from './topology.ts'

/**
 * Where delayed jobs of all queues of a cluster wait: a queue for each power of two, which holds every job for the same time, so that the first in is the first out and none waits
 * behind a longer one. A job goes through those whose sum is its delay. Levels are made when the first job needs them.
 */
export class DelayLine {
  readonly #connection: RabbitmqConnection
  readonly #names: ClusterNames
  readonly #isPassive: boolean
  readonly #clock: Clock
  #channel: SupervisedChannel | undefined
  #ready = 0
  #making: Promise<void> | undefined

  constructor(parts: {
    readonly connection: RabbitmqConnection
    readonly names: ClusterNames
    readonly isPassive: boolean
    readonly clock: Clock
  }) {
    this.#connection = parts.connection
    this.#names = parts.names
    this.#isPassive = parts.isPassive
    this.#clock = parts.clock
  }

  /** Whether jobs can enter there. */
  has(level: number): boolean {
    return level < this.#ready
  }

  /** Makes all levels up to that one, once for all who need them. */
  async prepare(level: number, timeoutMs: number): Promise<void> {
    const leftMs = countdown(this.#clock, timeoutMs)
    while (!this.has(level)) {
      if (this.#making === undefined) await this.#make(level, leftMs)
      else await this.#waitForOther(this.#making, leftMs)
    }
  }

  /** It may have been deleted: the next job looks. */
  forget(): void {
    this.#ready = 0
  }

  /** Those that exist, of whichever node; the longest wait first. */
  async levels(timeoutMs: number): Promise<number[]> {
    const leftMs = countdown(this.#clock, timeoutMs)
    const levels: number[] = []
    const channel = this.#connection.channel({ name: 'a look at the delay line' })
    try {
      await channel.whenReady(timeoutMs)
      // The first that is missing costs the channel; there are none above it.
      await channel
        .run('looking for levels', leftMs(), async (each) => {
          for (let level = 0; level < levelCount; level += 1) {
            await each.checkQueue(this.#names.delay(level))
            levels.unshift(level)
          }
        })
        .catch(ignoreMissing)
    } finally {
      await channel.close()
    }
    return levels
  }

  async close(): Promise<void> {
    await this.#channel?.close()
  }

  #make(level: number, leftMs: () => number): Promise<void> {
    this.#making = this.#declareMissing(level, leftMs).finally(() => (this.#making = undefined))
    return this.#making
  }

  async #declareMissing(level: number, leftMs: () => number): Promise<void> {
    // Without a setup, which would ask for a level that is missing on each new channel, at the cost of all others.
    this.#channel ??= this.#connection.channel({ name: 'the delay line' })
    await this.#channel.whenReady(leftMs())
    await this.#channel.run('declaring the delay line', leftMs(), (channel) =>
      this.#declare(channel, this.#ready, level + 1),
    )
  }

  /** Its failure is ours as well, unless it only had less time. */
  async #waitForOther(making: Promise<void>, leftMs: () => number): Promise<void> {
    await withDeadline(this.#clock, leftMs(), making, () => this.#late()).catch((error: unknown) => {
      if (!isMultinodeError(error) || error.code !== 'TIMEOUT' || isOver(leftMs)) throw error
    })
  }

  #late(): MultinodeError {
    return new MultinodeError(
      'TIMEOUT',
      `RabbitMQ at ${this.#connection.address}: the delay line was not ready in time. Its queues are made at the first delay of their length; try again.`,
      { capability: 'queue', backend: 'rabbitmq', outcome: 'not-sent' },
    )
  }

  /** Shorter waits first: the longer ones end there. */
  async #declare(channel: Channel, from: number, to: number): Promise<void> {
    for (let level = from; level < to; level += 1) {
      const name = this.#names.delay(level)
      if (this.#isPassive) await channel.checkExchange(name)
      else await this.#declareLevel(channel, level, name)
      this.#ready = Math.max(this.#ready, level + 1)
    }
  }

  async #declareLevel(channel: Channel, level: number, name: string): Promise<void> {
    const next = level === 0 ? this.#names.deliver : this.#names.delay(level - 1)
    await channel.assertExchange(name, 'topic', { durable: true })
    if (level === 0) await channel.assertExchange(next, 'topic', { durable: true })
    await channel.assertQueue(
      name,
      quorumQueue({
        'x-message-ttl': tickMs * 2 ** level,
        'x-dead-letter-exchange': next,
        'x-dead-letter-strategy': 'at-least-once',
        'x-overflow': 'reject-publish',
        'x-delivery-limit': deliveryLimit,
      }),
    )
    await channel.bindQueue(name, name, waitPattern(level))
    await channel.bindExchange(next, name, passPattern(level))
  }
}

function ignoreMissing(error: unknown): void {
  if (!isMultinodeError(error) || error.code !== 'NOT_FOUND') throw error
}
