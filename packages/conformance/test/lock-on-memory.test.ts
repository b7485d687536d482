import { lockConformance } from '../src/index.ts'
import { FaultyMemory } from './faulty-memory-lock.ts'

const memory = new FaultyMemory()

lockConformance('memory', { plugin: () => memory.plugin(), faults: memory.faults })
