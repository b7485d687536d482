import type { Timer } from '@multinode/core'
import type { Cluster, Redis } from 'ioredis'
import { type ClientParts, createClusterClient } from './create-client.ts'
import { chooseServer, Latencies, measureEveryMs } from './read-route.ts'
import type { ReadRouter } from './read-router.ts'

/**
 * Reads from the replicas of a Cluster: a client of its own, because ioredis would send every command that reads there, also those
 * that must not be behind.
 */
export class ClusterReads implements ReadRouter {
  readonly #client: Cluster
  readonly #latencies: Latencies
  readonly #parts: ClientParts
  #timer: Timer | undefined
  #isClosed = false

  constructor(parts: ClientParts) {
    this.#parts = parts
    this.#latencies = new Latencies(parts.context.clock)
    const { reads } = parts.target
    const scaleReads = ([master, ...replicas]: readonly (Redis | undefined)[]): Redis | undefined => {
      const known = replicas.filter((replica) => replica !== undefined)
      return chooseServer(reads, master, known, this.#latencies) ?? master
    }
    this.#client = createClusterClient({ ...parts, scaleReads })
    // It is tried again for ever; meanwhile reads take the usual way.
    this.#client.on('error', () => {})
    this.#client.connect().catch(() => {})
    this.#client.once('ready', () => void this.#measure())
  }

  client(): Cluster | undefined {
    return this.#client.status === 'ready' ? this.#client : undefined
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#client.disconnect()
  }

  async #measure(): Promise<void> {
    await this.#latencies.measure(this.#client.nodes('all'))
    if (this.#isClosed) return
    this.#timer = this.#parts.context.clock.setTimer(() => void this.#measure(), measureEveryMs, 'background')
  }
}
