import { cacheConformance } from '../src/index.ts'
import { FaultyCache } from './faulty-memory-cache.ts'

const memory = new FaultyCache()

// That the suite holds for a driver without counters, filters and files is shown in cache-kit.test.ts.
cacheConformance('memory', { plugin: () => memory.plugin(), faults: memory.faults })
