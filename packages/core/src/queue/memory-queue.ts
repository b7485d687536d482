import { MemoryHub } from '../memory/memory-hub.ts'
import { pluginApi, type PluginContext } from '../registry/plugin.ts'
import { MemoryLine } from './memory-line.ts'
import type { QueueDefinition, QueueDriver, QueueFeatures, QueueLine, QueuePlugin } from './queue-driver.ts'

const linesPart = Symbol('multinode.queue')

/** What the drivers of one cluster name share. */
interface Shared {
  readonly lines: Map<string, MemoryLine>
  drivers: number
}

/** Jobs within this process: cluster objects of one name share them, and they end with the last of these. */
class MemoryQueue implements QueueDriver {
  readonly features: QueueFeatures = {
    scope: 'process',
    persistence: 'none',
    delayStepMs: 1,
    lateAfterCrashMs: 0,
    dedupe: true,
    lookup: true,
    progress: true,
    clusterPause: true,
    exactCounts: true,
    maxBytes: 1_048_576,
    maxConcurrency: 1_000,
  }
  readonly address = null
  /** All queues of this cluster name, by name. */
  readonly native: Map<string, MemoryLine>
  readonly #context: PluginContext
  readonly #hub: MemoryHub
  readonly #shared: Shared
  #isClosed = false

  constructor(context: PluginContext) {
    this.#context = context
    this.#hub = MemoryHub.join(context.node.clusterName)
    this.#shared = this.#hub.part<Shared>(linesPart, () => ({ lines: new Map(), drivers: 0 }))
    this.#shared.drivers += 1
    this.native = this.#shared.lines
  }

  async open({ name }: QueueDefinition): Promise<QueueLine> {
    const known = this.native.get(name)
    if (known !== undefined) return known
    const line = new MemoryLine(this.#context.clock)
    this.native.set(name, line)
    return line
  }

  async ping(): Promise<void> {
    // Nothing between the caller and the state can be away.
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#shared.drivers -= 1
    if (this.#shared.drivers === 0) this.#endLines()
    this.#hub.leave()
  }

  #endLines(): void {
    for (const line of this.native.values()) line.end()
    this.native.clear()
  }
}

export const memoryQueue: QueuePlugin = {
  kind: 'multinode-plugin',
  api: pluginApi,
  capability: 'queue',
  backend: 'memory',
  options: {},
  create: async (context) => new MemoryQueue(context),
}
