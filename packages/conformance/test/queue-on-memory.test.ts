import { queueConformance } from '../src/index.ts'
import { FaultyQueue } from './faulty-memory-queue.ts'

const memory = new FaultyQueue()

queueConformance('memory', { plugin: () => memory.plugin(), faults: memory.faults })

const poor = new FaultyQueue()

// What a backend may lack is an error, or null, and the rest of the suite holds without it.
queueConformance('memory with no more than a backend must be able to do', {
  plugin: () => poor.plugin({ isPoor: true }),
})
