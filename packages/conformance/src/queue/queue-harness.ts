import type { QueuePlugin } from '@multinode/core'

/** What an adapter gives the suite. */
export interface QueueHarness {
  /** The adapter under test, told where its server is. Every driver made from it must have a connection of its own. */
  readonly plugin: () => QueuePlugin
  /** Troubles that the harness can cause; cases that need a missing one are skipped by name. */
  readonly faults?: QueueFaults
}

export interface QueueFaults {
  /** The server stops answering and keeps its connections, until the returned function is called. */
  freeze?(): Promise<() => Promise<void>>
  /** Every connection to the server breaks; new ones are accepted. */
  cutConnections?(): Promise<void>
}
