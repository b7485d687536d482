import type { JobDriver, LockDriver, LockPlugin, SharedLockDriver } from '../../src/index.ts'
import { pluginApi } from '../../src/index.ts'
import { MemoryJobs } from '../../src/lock/memory-jobs.ts'
import { MemoryLockStore } from '../../src/lock/memory-lock-store.ts'
import type { Clock } from '../../src/runtime/clock.ts'

type Answers = Partial<
  Pick<LockDriver, 'acquire' | 'extend' | 'release' | 'cancel' | 'ping' | 'close' | 'address'>
> & {
  shared?: Partial<SharedLockDriver>
  jobs?: Partial<JobDriver>
}

interface Call {
  readonly verb: 'acquire' | 'extend' | 'release' | 'cancel' | 'close' | 'claim' | 'done'
  readonly atMs: number
  readonly owner: string | undefined
  readonly timeoutMs: number | undefined
}

/**
 * A shared lock as if on a server: real locking on memory, with a note of every call, and with the answers of the test where it
 * has some. Answers may be exchanged at any time.
 */
export class SteeredLock {
  readonly answers: Answers
  readonly calls: Call[] = []
  readonly store: MemoryLockStore
  readonly sharedStore: MemoryLockStore
  readonly jobs: MemoryJobs
  readonly driver: LockDriver
  pushes: boolean
  /** Owners that listen for a push now. */
  readonly listening = new Set<string>()
  readonly #clock: Clock

  /** `plainOnly`: as an adapter without shared locks and jobs. */
  constructor(clock: Clock, answers: Answers = {}, { pushes = true, plainOnly = false } = {}) {
    this.#clock = clock
    this.answers = answers
    this.store = new MemoryLockStore(clock)
    this.sharedStore = new MemoryLockStore(clock)
    this.jobs = new MemoryJobs(clock)
    this.pushes = pushes
    this.driver = this.#driver()
    if (!plainOnly) this.driver = { ...this.driver, shared: this.#shared(), jobs: this.#jobs() }
  }

  verbs(): string[] {
    return this.calls.map((call) => call.verb)
  }

  /** When a verb was called, in ms of the clock. */
  times(verb: Call['verb']): number[] {
    return this.calls.filter((call) => call.verb === verb).map((call) => call.atMs)
  }

  plugin(): LockPlugin {
    return {
      kind: 'multinode-plugin',
      api: pluginApi,
      capability: 'lock',
      backend: 'steered',
      options: {},
      create: async () => this.driver,
    }
  }

  #note(verb: Call['verb'], owner?: string, timeoutMs?: number): void {
    this.calls.push({ verb, atMs: this.#clock.monotonicMs(), owner, timeoutMs })
  }

  #driver(): LockDriver {
    const { answers, store } = this
    const note: SteeredLock['driver']['acquire'] = async (request, timeoutMs) => {
      this.#note('acquire', request.owner, timeoutMs)
      return (answers.acquire ?? (async (asked) => store.acquire(asked)))(request, timeoutMs)
    }
    const driver: LockDriver = {
      features: { scope: 'cluster', order: 'fifo' },
      address: answers.address === undefined ? 'steered://here' : answers.address,
      native: null,
      acquire: note,
      extend: (key, owner, ttlMs, timeoutMs) => {
        this.#note('extend', owner, timeoutMs)
        const extend = answers.extend ?? (async () => store.extend(key, owner, ttlMs))
        return extend(key, owner, ttlMs, timeoutMs)
      },
      release: (key, owner, timeoutMs) => {
        this.#note('release', owner, timeoutMs)
        return (answers.release ?? (async () => store.release(key, owner)))(key, owner, timeoutMs)
      },
      cancel: (key, owner, timeoutMs) => {
        this.#note('cancel', owner, timeoutMs)
        return (answers.cancel ?? (async () => store.cancel(key, owner)))(key, owner, timeoutMs)
      },
      ping: (timeoutMs) => (answers.ping ?? (async () => {}))(timeoutMs),
      close: () => {
        this.#note('close')
        return (answers.close ?? (async () => {}))()
      },
    }
    if (!this.pushes) return driver
    return {
      ...driver,
      onWake: (owner, wake) => {
        const stops = [store, this.sharedStore].map((each) => each.onWake(owner, wake))
        this.listening.add(owner)
        return () => {
          for (const stop of stops) stop()
          this.listening.delete(owner)
        }
      },
    }
  }

  #shared(): SharedLockDriver {
    const { answers, sharedStore: store } = this
    return {
      acquire: async (request, timeoutMs) => {
        this.#note('acquire', request.owner, timeoutMs)
        return answers.shared?.acquire?.(request, timeoutMs) ?? store.acquire(request)
      },
      extend: async (key, owner, ttlMs, timeoutMs) => {
        this.#note('extend', owner, timeoutMs)
        return answers.shared?.extend?.(key, owner, ttlMs, timeoutMs) ?? store.extend(key, owner, ttlMs)
      },
      release: async (key, owner, timeoutMs) => {
        this.#note('release', owner, timeoutMs)
        return answers.shared?.release?.(key, owner, timeoutMs) ?? store.release(key, owner)
      },
      cancel: async (key, owner, timeoutMs) => {
        this.#note('cancel', owner, timeoutMs)
        return answers.shared?.cancel?.(key, owner, timeoutMs) ?? store.cancel(key, owner)
      },
    }
  }

  #jobs(): JobDriver {
    const { answers, jobs } = this
    return {
      claim: async (request, timeoutMs) => {
        this.#note('claim', request.owner, timeoutMs)
        return answers.jobs?.claim?.(request, timeoutMs) ?? jobs.claim(request)
      },
      extend: async (job, owner, ttlMs, timeoutMs) => {
        this.#note('extend', owner, timeoutMs)
        return answers.jobs?.extend?.(job, owner, ttlMs, timeoutMs) ?? jobs.extend(job, owner, ttlMs)
      },
      done: async (job, owner, timeoutMs) => {
        this.#note('done', owner, timeoutMs)
        return answers.jobs?.done?.(job, owner, timeoutMs) ?? jobs.done(job, owner)
      },
    }
  }
}
