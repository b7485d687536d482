import {
  type JobReceiver,
  MultinodeError,
  type PluginContext,
  type QueueDriver,
  type QueueLine,
  type QueuePlugin,
} from '@multinode/core'
import { memoryQueue } from '@multinode/core/testing'
import type { QueueFaults } from '../src/index.ts'

/** What a backend may lack. */
const poorFeatures = {
  dedupe: false,
  lookup: false,
  progress: false,
  clusterPause: false,
  exactCounts: false,
}

/** Queues on memory, with the troubles that a server can have, and, where it is asked for, with no more than a backend must be able to do. */
export class FaultyQueue {
  #isFrozen = false
  readonly faults: QueueFaults = {
    freeze: async () => {
      this.#isFrozen = true
      return async () => {
        this.#isFrozen = false
      }
    },
    // There is none between a node and memory.
    cutConnections: async () => {},
  }

  /** A plugin whose drivers all see these troubles. */
  plugin({ isPoor = false }: { readonly isPoor?: boolean } = {}): QueuePlugin {
    return { ...memoryQueue, create: (context) => this.#create(context, isPoor) }
  }

  async #create(context: PluginContext, isPoor: boolean): Promise<QueueDriver> {
    const memory = await memoryQueue.create(context)
    return {
      features: isPoor ? { ...memory.features, ...poorFeatures } : memory.features,
      address: null,
      native: memory.native,
      open: (definition, timeoutMs) =>
        this.#unlessFrozen(timeoutMs, async () => {
          const line = this.#troubled(await memory.open(definition, timeoutMs))
          return isPoor ? poor(line) : line
        }),
      ping: (timeoutMs) => this.#unlessFrozen(timeoutMs, () => memory.ping(timeoutMs)),
      close: () => memory.close(),
    }
  }

  #troubled(line: QueueLine): QueueLine {
    const ask = <T>(timeoutMs: number, work: () => Promise<T>): Promise<T> =>
      this.#unlessFrozen(timeoutMs, work)
    return {
      ...bareLine(line, ask),
      pauseAll: (isPaused, timeoutMs) => ask(timeoutMs, async () => line.pauseAll?.(isPaused, timeoutMs)),
      get: (id, timeoutMs) => ask(timeoutMs, async () => line.get?.(id, timeoutMs)),
      remove: (id, timeoutMs) =>
        ask(timeoutMs, async () => (await line.remove?.(id, timeoutMs)) ?? 'not-found'),
    }
  }

  #unlessFrozen<T>(timeoutMs: number, work: () => Promise<T>): Promise<T> {
    return this.#isFrozen ? silence(timeoutMs) : work()
  }
}

/** What every line has, and no more. */
export function bareLine(
  line: QueueLine,
  ask: <T>(timeoutMs: number, work: () => Promise<T>) => Promise<T> = (_, work) => work(),
): QueueLine {
  return {
    add: (jobs, timeoutMs) => ask(timeoutMs, () => line.add(jobs, timeoutMs)),
    consume: (options, receiver, timeoutMs) =>
      ask(timeoutMs, () => line.consume(options, receiver, timeoutMs)),
    counts: (timeoutMs) => ask(timeoutMs, () => line.counts(timeoutMs)),
    purge: (timeoutMs) => ask(timeoutMs, () => line.purge(timeoutMs)),
    listDead: (limit, timeoutMs) => ask(timeoutMs, () => line.listDead(limit, timeoutMs)),
    redrive: (choice, timeoutMs) => ask(timeoutMs, () => line.redrive(choice, timeoutMs)),
    purgeDead: (timeoutMs) => ask(timeoutMs, () => line.purgeDead(timeoutMs)),
  }
}

/** The same receiver, with another way to run jobs. */
export function receiverWith(receiver: JobReceiver, run: JobReceiver['run']): JobReceiver {
  return {
    run,
    lost: (id) => receiver.lost(id),
    settleIgnored: (id) => receiver.settleIgnored(id),
    stalled: (id) => receiver.stalled(id),
  }
}

function poor(line: QueueLine): QueueLine {
  return {
    ...bareLine(line),
    counts: async (timeoutMs) => {
      const { waiting, dead } = await line.counts(timeoutMs)
      return { waiting, active: null, delayed: null, dead, oldestWaitingMs: null }
    },
    purge: async (timeoutMs) => {
      await line.purge(timeoutMs)
      return null
    },
    consume: (options, receiver, timeoutMs) => {
      const run: JobReceiver['run'] = ({ record, attempt, redelivered }) =>
        receiver.run({ record, attempt, redelivered })
      return line.consume(options, receiverWith(receiver, run), timeoutMs)
    },
  }
}

function silence(timeoutMs: number): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new MultinodeError('TIMEOUT', 'silent', { outcome: 'unknown' })), timeoutMs)
  })
}
