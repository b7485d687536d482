import type { WorkerIdPlugin } from '@multinode/core'

/** What an adapter gives the suite. */
export interface WorkerIdHarness {
  /** The adapter under test, told where its server is. Every driver made from it must have a connection of its own. */
  readonly plugin: () => WorkerIdPlugin
  /** Troubles that the harness can cause; cases that need a missing one are skipped by name. */
  readonly faults?: WorkerIdFaults
}

export interface WorkerIdFaults {
  /** The server stops answering and keeps its connections, until the returned function is called. */
  freeze?(): Promise<() => Promise<void>>
  /** The server forgets everything, as by a restart without persistence. */
  loseState?(): Promise<void>
}
