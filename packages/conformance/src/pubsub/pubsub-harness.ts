import type { PubSubPlugin } from '@multinode/core'

/** What an adapter gives the suite. */
export interface PubSubHarness {
  /** The adapter under test, told where its server is. Every driver made from it must have a connection of its own. */
  readonly plugin: () => PubSubPlugin
  /** The same with so many logs, if it can have several. */
  readonly pluginWithLanes?: (lanes: number) => PubSubPlugin
  /** Troubles that the harness can cause; cases that need a missing one are skipped by name. */
  readonly faults?: PubSubFaults
}

export interface PubSubFaults {
  /** The server stops answering and keeps its connections, until the returned function is called. */
  freeze?(): Promise<() => Promise<void>>
  /** The server forgets everything, as by a restart without persistence. */
  loseState?(): Promise<void>
  /** Every connection to the server breaks; new ones are accepted. */
  cutConnections?(): Promise<void>
}
