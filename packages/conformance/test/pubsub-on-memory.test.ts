import { pubsubConformance } from '../src/index.ts'
import { FaultyPubSub } from './faulty-memory-pubsub.ts'

const memory = new FaultyPubSub()

pubsubConformance('memory', {
  plugin: () => memory.plugin(),
  pluginWithLanes: (lanes) => memory.plugin(lanes),
  faults: memory.faults,
})
