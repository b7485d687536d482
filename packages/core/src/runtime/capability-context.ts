import type { PubSub } from '../pubsub/pubsub.ts'
import type { CapabilityName } from '../registry/capability-name.ts'
import type { NodeIdentity } from '../registry/plugin.ts'
import type { Clock } from './clock.ts'

/** What core gives every portable type besides its driver. */
export interface CapabilityContext {
  readonly capability: CapabilityName
  readonly backend: string
  readonly node: NodeIdentity
  /** What the other nodes see of this one. */
  readonly metadata: Readonly<Record<string, unknown>>
  readonly clock: Clock
  readonly callTimeoutMs: number
  /** A variable of the environment that the cluster object was given; blank counts as not set. */
  readonly env: (name: string) => string | undefined
  /** The signals of this cluster object, for a capability that tells the other nodes something; `undefined` where they are not set up. Not before all are. */
  readonly pubsub: () => PubSub | undefined
  /** Background trouble that no caller is waiting for. Never throws. */
  readonly report: (error: unknown) => void
  /** Something an operator should know, said once. Never throws. */
  readonly warn: (message: string) => void
}
