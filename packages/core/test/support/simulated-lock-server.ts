import { type AcquireReply, type AcquireRequest, type LockDriver, MultinodeError } from '../../src/index.ts'
import { MemoryLockStore } from '../../src/lock/memory-lock-store.ts'
import { FifoWatch } from './fifo-watch.ts'
import { SimulatedProcess, type SimulatedWorld } from './simulated-world.ts'

/** A mistake in the protocol that the simulation must find. */
export type ServerFlaw = 'no tombstone' | 'a counter' | 'no queue'

/**
 * The server side of a lock, and the network to it: requests and replies are late, lost, doubled and out of order, and the server forgets
 * everything now and then. Tokens are minted as `token.lua.ts` does, so that they too are lost when the server forgets.
 */
export class SimulatedLockServer {
  readonly process: SimulatedProcess
  readonly #world: SimulatedWorld
  readonly #flaw: ServerFlaw | undefined
  #store: MemoryLockStore
  #fifo: FifoWatch
  /** By key, as long as the server remembers. */
  readonly #lastTokens = new Map<string, number>()
  /** Of grants, by the token of the store. */
  readonly #minted = new Map<number, number>()
  readonly #greatestTokens = new Map<string, number>()
  readonly #cancelled = new Set<string>()
  #isCalm = false

  constructor(world: SimulatedWorld, flaw?: ServerFlaw) {
    this.#world = world
    this.#flaw = flaw
    this.process = new SimulatedProcess(world, { rate: 1, wallMs: Date.UTC(2026, 0, 1) })
    this.#store = new MemoryLockStore(this.process.clock)
    this.#fifo = new FifoWatch(world)
  }

  /** From now on the network is good. */
  calm(): void {
    this.#isCalm = true
  }

  /** As a restart without persistence, which takes some time. */
  forget(): void {
    this.process.pause(5)
    this.#store = new MemoryLockStore(this.process.clock)
    this.#fifo = new FifoWatch(this.#world)
    this.#lastTokens.clear()
    this.#cancelled.clear()
  }

  /** Whether anything is held or queued. */
  isFree(key: string): boolean {
    return this.#store.acquire({ key, owner: 'inspector', ttlMs: 10, waitMs: 0 }).status === 'granted'
  }

  /** What a node has of it. */
  driver(node: SimulatedProcess, { pushes }: { pushes: boolean }): LockDriver {
    const ask = <T>(timeoutMs: number, handle: () => T): Promise<T> => this.#ask(node, timeoutMs, handle)
    const driver: LockDriver = {
      features: { scope: 'cluster', order: 'fifo' },
      address: 'simulated://',
      native: null,
      acquire: (request, timeoutMs) => ask(timeoutMs, () => this.#acquire(request)),
      extend: (key, owner, ttlMs, timeoutMs) => ask(timeoutMs, () => this.#extend(key, owner, ttlMs)),
      release: (key, owner, timeoutMs) => ask(timeoutMs, () => this.#release(key, owner)),
      cancel: (key, owner, timeoutMs) => ask(timeoutMs, () => this.#cancel(key, owner)),
      ping: async () => {},
      close: async () => {},
    }
    if (!pushes) return driver
    return { ...driver, onWake: (owner, wake) => this.#listen(node, owner, wake) }
  }

  #acquire(request: AcquireRequest): AcquireReply {
    const { key, owner } = request
    const asked = this.#flaw === 'no queue' ? { ...request, waitMs: 0 } : request
    const reply = this.#store.acquire(asked)
    this.#fifo.answered(request, reply)
    if (reply.status !== 'granted') return reply
    if (this.#cancelled.has(owner)) {
      this.#world.violations.push(`${key} was granted to ${owner}, who had given up`)
    }
    return { status: 'granted', token: this.#mint(key, reply.token) }
  }

  #extend(key: string, owner: string, ttlMs: number): ReturnType<MemoryLockStore['extend']> {
    const reply = this.#store.extend(key, owner, ttlMs)
    if (reply === 'extended') this.#fifo.extended(key, ttlMs)
    return reply
  }

  #release(key: string, owner: string): ReturnType<MemoryLockStore['release']> {
    const reply = this.#store.release(key, owner)
    this.#fifo.released(key, owner)
    return reply
  }

  #cancel(key: string, owner: string): void {
    this.#cancelled.add(owner)
    if (this.#flaw === 'no tombstone') this.#store.release(key, owner)
    else this.#store.cancel(key, owner)
    this.#fifo.cancelled(key, owner)
  }

  #mint(key: string, storeToken: number): number {
    const known = this.#minted.get(storeToken)
    if (known !== undefined) return known
    const microseconds = this.#flaw === 'a counter' ? 0 : Math.floor(this.process.clock.wallMs() * 1_000)
    const token = Math.max(microseconds, (this.#lastTokens.get(key) ?? 0) + 1)
    const greatest = this.#greatestTokens.get(key) ?? 0
    if (token <= greatest) this.#world.violations.push(`${key} has token ${token} after ${greatest}`)
    this.#greatestTokens.set(key, token)
    this.#lastTokens.set(key, token)
    this.#minted.set(storeToken, token)
    return token
  }

  #listen(node: SimulatedProcess, owner: string, wake: () => void): () => void {
    let isListening = true
    const store = this.#store
    const stop = store.onWake(owner, () => {
      if (this.#isLost()) return
      this.#world.after(this.#delayMs(), node, () => {
        if (isListening) wake()
      })
    })
    return () => {
      isListening = false
      stop()
    }
  }

  #ask<T>(node: SimulatedProcess, timeoutMs: number, handle: () => T): Promise<T> {
    const { random } = this.#world
    return new Promise((resolve, reject) => {
      if (!this.#isCalm && random.chance(0.02)) return reject(unanswered('UNAVAILABLE', 'not-sent'))
      const overdue = (): void => reject(unanswered('TIMEOUT', 'unknown'))
      const timer = node.clock.setTimer(overdue, timeoutMs, 'foreground')
      const answer = (reply: T): void => {
        timer.cancel()
        resolve(reply)
      }
      if (!this.#isCalm && random.chance(0.03)) {
        // A connection that breaks says so, whatever became of what was sent.
        this.#world.after(this.#delayMs(), node, () => reject(unanswered('UNAVAILABLE', 'unknown')))
      }
      const copies = !this.#isCalm && random.chance(0.05) ? 2 : 1
      for (let copy = 0; copy < copies; copy += 1) {
        if (this.#isLost()) continue
        this.#world.after(this.#delayMs(), this.process, () => {
          const reply = handle()
          if (!this.#isLost()) this.#world.after(this.#delayMs(), node, () => answer(reply))
        })
      }
    })
  }

  #isLost(): boolean {
    return !this.#isCalm && this.#world.random.chance(0.06)
  }

  /** Most are quick; some overtake those. */
  #delayMs(): number {
    const { random } = this.#world
    return !this.#isCalm && random.chance(0.15) ? random.between(3, 400) : random.between(0.1, 3)
  }
}

function unanswered(code: 'TIMEOUT' | 'UNAVAILABLE', outcome: 'unknown' | 'not-sent'): MultinodeError {
  return new MultinodeError(code, `simulated: ${code}`, { capability: 'lock', outcome })
}
