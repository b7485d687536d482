import { memoryWorkerIds } from '@multinode/core/testing'
import { workerIdConformance } from '../src/index.ts'
import { SilentServer } from './forgetful-worker-ids.ts'

const memory = new SilentServer(memoryWorkerIds)
workerIdConformance('memory', { plugin: () => memory.plugin(), faults: { freeze: memory.freeze } })
