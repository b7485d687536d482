export { memoryLock } from '../lock/memory-lock.ts'
export { memoryWorkerIds } from '../worker-id/memory-worker-ids.ts'
export { ManualClock } from './manual-clock.ts'
export { capabilityContext, pluginContext, type ContextOptions } from './contexts.ts'
