import type { CachePlugin, PubSubPlugin } from '@multinode/core'

/** What an adapter gives the suite. */
export interface CacheHarness {
  /** The adapter under test, told where its server is. Every driver made from it must have a connection of its own. */
  readonly plugin: () => CachePlugin
  /** What the nodes of a case tell each other by. Default: signals in memory, because all of them are in this process. */
  readonly pubsub?: () => PubSubPlugin
  /** Troubles that the harness can cause; cases that need a missing one are skipped by name. */
  readonly faults?: CacheFaults
  /** How long a case waits for what must come true. Default: 15,000 ms. */
  readonly patienceMs?: number
}

export interface CacheFaults {
  /** The server stops answering and keeps its connections, until the returned function is called. */
  freeze?(): Promise<() => Promise<void>>
  /** Every connection to the server breaks, and new ones are refused, until the returned function is called. */
  refuse?(): Promise<() => Promise<void>>
}
