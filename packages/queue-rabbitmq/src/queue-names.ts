import { createHash } from 'node:crypto'
import type { JobPriority } from '@multinode/core'

/** Together with a cluster's name of 64 characters, or the digits of a delay, below the 255 bytes of AMQP. */
const longestKey = 120
const keptOfLonger = 80

/** Exchanges and queues of one cluster. Its name has only `[A-Za-z0-9_.-]`. */
export class ClusterNames {
  /** From where delayed jobs go to their queues. */
  readonly deliver: string
  readonly #cluster: string

  constructor(clusterName: string) {
    this.#cluster = clusterName
    this.deliver = `${clusterName}.delay.deliver`
  }

  /** An exchange and a queue of the delay line. */
  delay(level: number): string {
    return `${this.#cluster}.delay.${String(level).padStart(2, '0')}`
  }

  queue(name: string): QueueNames {
    const key = keyOf(name)
    return {
      key: { high: `${key}+high`, normal: key, low: `${key}+low` },
      work: {
        high: `${this.#cluster}.queue.${key}+high`,
        normal: `${this.#cluster}.queue.${key}`,
        low: `${this.#cluster}.queue.${key}+low`,
      },
      dead: `${this.#cluster}.dead.${key}`,
    }
  }
}

/** What belongs to one queue. */
export interface QueueNames {
  /** One word in a routing key, which no pattern takes for another. */
  readonly key: Readonly<Record<JobPriority, string>>
  readonly work: Readonly<Record<JobPriority, string>>
  readonly dead: string
}

/** Two names never have one key: neither `~` nor `+` is in an escaped one. */
function keyOf(name: string): string {
  const escaped = name.replaceAll(/[^A-Za-z0-9_-]/gu, escape)
  if (escaped.length <= longestKey) return escaped
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 32)
  return `${escaped.slice(0, keptOfLonger)}~${hash}`
}

function escape(character: string): string {
  return Buffer.from(character).toString('hex').toUpperCase().replaceAll(/../g, '%$&')
}
