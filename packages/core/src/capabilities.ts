import type { Capability } from './capability.ts'
import { lockCapability } from './lock/capability.ts'
import type { Locks } from './lock/locks.ts'
import type { CapabilityName } from './registry/capability-name.ts'

/** The portable type of each capability. A new one is added here, in `capabilities`, and as a getter of `Cluster`. */
export interface PortableTypes {
  lock: Locks
}

export const capabilities: { readonly [N in keyof PortableTypes]: Capability<PortableTypes[N]> } = {
  lock: lockCapability,
}

/** Whether this version of core has the capability, not only its name. */
export function isBuilt(name: CapabilityName): name is keyof PortableTypes {
  return name in capabilities
}
