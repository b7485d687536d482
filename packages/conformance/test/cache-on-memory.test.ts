import { cacheConformance } from '../src/index.ts'
import { FaultyCache } from './faulty-memory-cache.ts'

const memory = new FaultyCache()

cacheConformance('memory', { plugin: () => memory.plugin(), faults: memory.faults })

const poor = new FaultyCache()

// What a backend may lack is an error, and the rest of the suite holds without it.
cacheConformance('memory with no more than a backend must be able to do', {
  plugin: () => poor.plugin({ isPoor: true }),
})
