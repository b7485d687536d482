import type { Timer } from '@multinode/core'
import type { Cluster, Redis } from 'ioredis'
import { type ClientParts, createClusterClient } from './create-client.ts'
import { chooseServer, Latencies, measureEveryMs } from './read-route.ts'
import type { ReadRouter } from './read-router.ts'
import { tendLinks } from './tend-links.ts'

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
    tendLinks(this.#client, parts.context.clock)
    this.#client.connect().catch(() => {})
    this.#client.on('ready', () => void this.#look())
    this.#lookAgainLater()
  }

  client(): Cluster | undefined {
    return this.#client.status === 'ready' ? this.#client : undefined
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#client.disconnect()
  }

  #lookAgainLater(): void {
    const look = async (): Promise<void> => {
      // A node that was lost is found again.
      await new Promise<void>((resolve) => this.#client.refreshSlotsCache(() => resolve()))
      await this.#look()
      if (!this.#isClosed) this.#lookAgainLater()
    }
    this.#timer = this.#parts.context.clock.setTimer(() => void look(), measureEveryMs, 'background')
  }

  /** Also connects to those that are not connected yet. */
  async #look(): Promise<void> {
    await this.#latencies.measure(this.#client.nodes('all'))
  }
}
