import type { Capability } from '../capability.ts'
import { checkVerbs } from '../registry/driver.ts'
import type { LockDriver } from './lock-driver.ts'
import { Locks } from './locks.ts'
import { memoryLock } from './memory-lock.ts'

const verbs: readonly (keyof LockDriver)[] = ['acquire', 'extend', 'release', 'cancel']

export const lockCapability: Capability<Locks> = {
  name: 'lock',
  memory: memoryLock,
  portable(driver, context) {
    checkVerbs<LockDriver>(driver, verbs, context)
    return new Locks(driver, context)
  },
}
