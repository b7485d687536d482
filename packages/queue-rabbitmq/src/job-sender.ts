import type { OutgoingMessage } from '@multinode/connection-rabbitmq'
import { type Clock, isMultinodeError } from '@multinode/core'
import { countdown } from './countdown.ts'
import { routingKeyOf, tripOf } from './delay-digits.ts'
import type { DelayLine } from './delay-line.ts'
import { type QueuedJob, toContent } from './job-message.ts'
import type { JobPublisher } from './job-publisher.ts'
import type { ClusterNames, QueueNames } from './queue-names.ts'
import { unsure, withOutcome } from './with-outcome.ts'

/** So long the server may need to tell those who consume a queue that it was deleted: of one that is made again before that they are not told, and wait for ever. */
const goneMs = 500

export interface SenderParts {
  readonly publisher: JobPublisher
  readonly cluster: ClusterNames
  readonly names: QueueNames
  readonly delayLine: DelayLine
  readonly clock: Clock
  /** Makes the queues anew, which somebody has deleted. */
  readonly redeclare: (timeoutMs: number) => Promise<void>
}

/**
 * Brings jobs of one queue to where they wait. Resolves when the server has the job, and a queue holds it. Every copy is a new message: what the server wrote on the old one would make it
 * drop the copy where that had been before.
 */
export class JobSender {
  readonly #parts: SenderParts

  constructor(parts: SenderParts) {
    this.#parts = parts
  }

  /** Messages leave in the order of the calls, if they are not delayed. */
  send(job: QueuedJob, delayMs: number, timeoutMs: number): Promise<void> {
    const leftMs = countdown(this.#parts.clock, timeoutMs)
    if (delayMs > 0) return this.#sendDelayed(job, delayMs, leftMs)
    return this.#publish({ exchange: '', routingKey: this.#parts.names.work[job.priority], job }, leftMs)
  }

  sendDead(job: QueuedJob, timeoutMs: number): Promise<void> {
    const leftMs = countdown(this.#parts.clock, timeoutMs)
    return this.#publish({ exchange: '', routingKey: this.#parts.names.dead, job }, leftMs)
  }

  async #sendDelayed(job: QueuedJob, delayMs: number, leftMs: () => number): Promise<void> {
    const { cluster, names, delayLine } = this.#parts
    const trip = tripOf(delayMs)
    const { level, restMs } = trip
    if (!delayLine.has(level)) {
      await delayLine.prepare(level, leftMs()).catch((error: unknown) => {
        throw withOutcome(error, 'not-sent')
      })
    }
    const way = {
      exchange: cluster.delay(level),
      routingKey: routingKeyOf(trip, names.key[job.priority]),
      job: { ...job, restMs },
    }
    await this.#publish(way, leftMs, async () => {
      delayLine.forget()
      await delayLine.prepare(level, leftMs())
    })
  }

  async #publish(
    { exchange, routingKey, job }: { exchange: string; routingKey: string; job: QueuedJob },
    leftMs: () => number,
    mend?: () => Promise<void>,
  ): Promise<void> {
    const { publisher, redeclare } = this.#parts
    const message: OutgoingMessage = {
      exchange,
      routingKey,
      content: toContent(job),
      options: { persistent: true, mandatory: true, messageId: job.record.id },
    }
    try {
      await publisher.publish(message, leftMs)
    } catch (error) {
      if (!isMultinodeError(error) || error.code !== 'NOT_FOUND' || leftMs() <= goneMs) throw error
      await publisher.pause(goneMs)
      try {
        await redeclare(leftMs())
        await mend?.()
      } catch (failure) {
        // The job itself is where the first attempt left it.
        throw withOutcome(failure, error.outcome ?? 'unknown')
      }
      await publisher.publish(message, leftMs).catch((failure: unknown) => {
        throw error.outcome === 'not-sent' ? failure : unsure(failure)
      })
    }
  }
}
