import type { CapabilityName } from './registry/capability-name.ts'
import type { Driver } from './registry/driver.ts'
import type { Plugin } from './registry/plugin.ts'
import type { CapabilityContext } from './runtime/capability-context.ts'

/** What the cluster object needs of every portable type to run its life cycle. */
export interface PortableType {
  /** Counters since start. */
  stats(): object
  /** Finishes what runs; resolves by `deadlineMs` with the names of what was left. */
  drain(deadlineMs: number): Promise<string[]>
  /** Ends all that is under way. Idempotent, never rejects. The driver is closed after it, by the cluster object. */
  close(): Promise<void>
}

/** Everything core knows about one capability: its memory backend, and how the portable type is put on a driver. */
export interface Capability<P extends PortableType> {
  readonly name: CapabilityName
  readonly memory: Plugin
  /** @throws `MISCONFIGURED` when the driver lacks a verb of this capability */
  portable(driver: Driver, context: CapabilityContext): P
}
