import {
  MultinodeError,
  type PluginContext,
  type PubSubDriver,
  type PubSubPlugin,
  type SignalReceiver,
} from '@multinode/core'
import { memoryPubSub } from '@multinode/core/testing'
import type { PubSubFaults } from '../src/index.ts'

/** A node on memory, and what it takes to play its troubles. */
interface Part {
  tell: SignalReceiver['gap'] | undefined
}

/** Signals on memory, with the troubles that a server can have: it can fall silent, forget, and cut connections. */
export class FaultyPubSub {
  #isFrozen = false
  readonly #parts = new Set<Part>()
  readonly faults: PubSubFaults = {
    freeze: async () => {
      this.#isFrozen = true
      return async () => {
        this.#isFrozen = false
      }
    },
    loseState: async () => {
      for (const { tell } of this.#parts) tell?.({ reason: 'epoch', missed: undefined })
    },
    // There is none between a node and memory.
    cutConnections: async () => {},
  }

  /** A plugin whose drivers all see these troubles. */
  plugin(lanes = 1): PubSubPlugin {
    return { ...memoryPubSub, create: (context) => this.#create(context, lanes) }
  }

  async #create(context: PluginContext, lanes: number): Promise<PubSubDriver> {
    const logs = await Promise.all(
      Array.from({ length: lanes }, (_, lane) =>
        memoryPubSub.create({
          ...context,
          node: { ...context.node, clusterName: `${context.node.clusterName}-${lane}` },
        }),
      ),
    )
    const [first] = logs
    if (first === undefined) throw new Error('there are no lanes')
    const part: Part = { tell: undefined }
    const unlessFrozen = <T>(timeoutMs: number, work: () => Promise<T>): Promise<T> =>
      this.#isFrozen ? silence(timeoutMs) : work()
    return {
      features: first.features,
      address: null,
      native: first.native,
      lanes,
      maxDataBytes: first.maxDataBytes,
      join: (receiver, metadata, timeoutMs) =>
        unlessFrozen(timeoutMs, async () => {
          part.tell = (gap) => receiver.gap(gap)
          this.#parts.add(part)
          for (const [lane, log] of logs.entries()) {
            const receive: SignalReceiver['receive'] = (signals) =>
              receiver.receive(signals.map((signal) => ({ ...signal, lane })))
            const members: SignalReceiver['members'] = (all) => {
              if (lane === 0) receiver.members(all)
            }
            await log.join({ ...receiver, receive, members }, metadata, timeoutMs)
          }
        }),
      publish: async (request, timeoutMs) => {
        try {
          const log = logs[request.lane] ?? first
          return await unlessFrozen(timeoutMs, () => log.publish({ ...request, lane: 0 }, timeoutMs))
        } catch (error) {
          return { accepted: 0, failure: { error: Object(error), isFinal: false } }
        }
      },
      leave: (timeoutMs) =>
        unlessFrozen(timeoutMs, async () => {
          this.#parts.delete(part)
          await Promise.all(logs.map((log) => log.leave(timeoutMs)))
        }),
      ping: (timeoutMs) => unlessFrozen(timeoutMs, () => first.ping(timeoutMs)),
      close: async () => {
        this.#parts.delete(part)
        await Promise.all(logs.map((log) => log.close()))
      },
    }
  }
}

function silence(timeoutMs: number): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new MultinodeError('TIMEOUT', 'silent', { outcome: 'unknown' })), timeoutMs)
  })
}
