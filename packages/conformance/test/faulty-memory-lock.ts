import {
  type JobDriver,
  type LockDriver,
  type LockPlugin,
  MultinodeError,
  type PluginContext,
  type SharedLockDriver,
} from '@multinode/core'
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
    const shared = async (timeoutMs: number): Promise<SharedLockDriver> =>
      (await inner(timeoutMs)).shared ?? lacking()
    const jobs = async (timeoutMs: number): Promise<JobDriver> => (await inner(timeoutMs)).jobs ?? lacking()
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
      shared: {
        acquire: async (request, timeoutMs) => (await shared(timeoutMs)).acquire(request, timeoutMs),
        extend: async (key, owner, ttlMs, timeoutMs) =>
          (await shared(timeoutMs)).extend(key, owner, ttlMs, timeoutMs),
        release: async (key, owner, timeoutMs) => (await shared(timeoutMs)).release(key, owner, timeoutMs),
        cancel: async (key, owner, timeoutMs) => (await shared(timeoutMs)).cancel(key, owner, timeoutMs),
      },
      jobs: {
        claim: async (request, timeoutMs) => (await jobs(timeoutMs)).claim(request, timeoutMs),
        extend: async (job, owner, ttlMs, timeoutMs) =>
          (await jobs(timeoutMs)).extend(job, owner, ttlMs, timeoutMs),
        done: async (job, owner, timeoutMs) => (await jobs(timeoutMs)).done(job, owner, timeoutMs),
      },
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

function lacking(): never {
  throw new Error('the lock on memory has all parts')
}
