import type { Capability } from '../capability.ts'
import { checkVerbs } from '../registry/driver.ts'
import { memoryWorkerIds } from './memory-worker-ids.ts'
import type { WorkerIdDriver } from './worker-id-driver.ts'
import { WorkerIds } from './worker-ids.ts'

const verbs: readonly (keyof WorkerIdDriver)[] = ['acquire', 'renew', 'release', 'holders']

export const workerIdCapability: Capability<WorkerIds> = {
  name: 'workerid',
  memory: memoryWorkerIds,
  portable(driver, context) {
    checkVerbs<WorkerIdDriver>(driver, verbs, context)
    return new WorkerIds(driver, context)
  },
}
