import { type LockDriver, type LockPlugin, MultinodeError, type PluginContext } from '@multinode/core'
import { memoryLock } from '@multinode/core/testing'
import type { LockFaults } from '../src/index.ts'

/** The lock on memory, with the troubles that a server can have: it can fall silent and forget. */
export class FaultyMemory {
  #frozen = false
  #generation = 0
  readonly faults: LockFaults = {
    freeze: async () => {
      this.#frozen = true
      return async () => {
        this.#frozen = false
      }
    },
    loseState: async () => {
      this.#generation += 1
    },
  }

  /** A plugin whose drivers all see these troubles. */
  plugin(): LockPlugin {
    return { ...memoryLock, create: (context) => this.#create(context) }
  }

  async #create(context: PluginContext): Promise<LockDriver> {
    const generations: LockDriver[] = []
    const inner = async (timeoutMs: number): Promise<LockDriver> => {
      if (this.#frozen) return silence(timeoutMs)
      const clusterName = `${context.node.clusterName}-${this.#generation}`
      generations[this.#generation] ??= await memoryLock.create({
        ...context,
        node: { ...context.node, clusterName },
      })
      return generations[this.#generation] ?? silence(timeoutMs)
    }
    const first = await inner(0)
    return {
      features: first.features,
      address: null,
      get native() {
        return generations.at(-1)?.native
      },
      acquire: async (request, timeoutMs) => (await inner(timeoutMs)).acquire(request, timeoutMs),
      extend: async (key, owner, ttlMs, timeoutMs) =>
        (await inner(timeoutMs)).extend(key, owner, ttlMs, timeoutMs),
      release: async (key, owner, timeoutMs) => (await inner(timeoutMs)).release(key, owner, timeoutMs),
      cancel: async (key, owner, timeoutMs) => (await inner(timeoutMs)).cancel(key, owner, timeoutMs),
      ping: async (timeoutMs) => (await inner(timeoutMs)).ping(timeoutMs),
      onWake: (owner, wake) => first.onWake?.(owner, wake) ?? ((): void => {}),
      close: async () => {
        await Promise.all(generations.map((driver) => driver.close()))
      },
    }
  }
}

function silence(timeoutMs: number): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new MultinodeError('TIMEOUT', 'silent', { outcome: 'unknown' })), timeoutMs)
  })
}
