import type { AcquireReply, AcquireRequest } from '../../src/index.ts'
import type { SimulatedWorld } from './simulated-world.ts'

/** How long the server keeps what is free for a waiter. */
const claimMs = 200

interface WatchedKey {
  readonly waiters: { readonly owner: string; untilMs: number }[]
  /** Those who lost their place, because they did not come, or came too late: any order is right for them. */
  readonly displaced: Set<string>
  holder: { readonly owner: string; untilMs: number } | undefined
  freeSinceMs: number
}

/**
 * Watches, from what is asked and answered, that nobody is passed by one who asked later, unless the lock was free for it as long as
 * it had the first claim.
 */
export class FifoWatch {
  readonly #world: SimulatedWorld
  readonly #keys = new Map<string, WatchedKey>()

  constructor(world: SimulatedWorld) {
    this.#world = world
  }

  answered({ key, owner, ttlMs, waitMs }: AcquireRequest, reply: AcquireReply): void {
    const watched = this.#key(key)
    if (reply.status === 'granted') this.#granted(watched, key, owner, ttlMs)
    if (reply.status === 'busy' && waitMs > 0) this.#waits(watched, owner, waitMs)
  }

  extended(key: string, ttlMs: number): void {
    const { holder } = this.#key(key)
    // No lease is ever shortened.
    if (holder !== undefined) holder.untilMs = Math.max(holder.untilMs, this.#world.nowMs + ttlMs)
  }

  cancelled(key: string, owner: string): void {
    removeFrom(this.#key(key), owner)
    this.released(key, owner)
  }

  released(key: string, owner: string): void {
    const watched = this.#key(key)
    if (watched.holder?.owner === owner) {
      watched.holder = undefined
      watched.freeSinceMs = this.#world.nowMs
    }
  }

  #granted(watched: WatchedKey, key: string, owner: string, ttlMs: number): void {
    const { nowMs } = this.#world
    const untilMs = nowMs + ttlMs
    if (watched.holder?.owner === owner) {
      watched.holder.untilMs = Math.max(watched.holder.untilMs, untilMs)
      return
    }
    this.#displaceLateOnes(watched)
    const place = watched.waiters.findIndex((waiter) => waiter.owner === owner)
    const before = place === -1 ? watched.waiters : watched.waiters.slice(0, place)
    const passed = before.filter((waiter) => waiter.untilMs > nowMs)
    if (passed.length > 0 && !watched.displaced.has(owner)) {
      const names = passed.map((waiter) => waiter.owner).join(', ')
      this.#world.violations.push(`${key} was granted to ${owner} before ${names}, who asked earlier`)
    }
    removeFrom(watched, owner)
    watched.holder = { owner, untilMs }
  }

  /** Each time that the lock was free for so long, the first waiter may have lost its place. */
  #displaceLateOnes(watched: WatchedKey): void {
    const { nowMs } = this.#world
    // Times are sums, which are rounded.
    let late = Math.floor((nowMs - watched.freeSinceMs + 0.001) / claimMs)
    for (const { owner, untilMs } of watched.waiters.slice()) {
      if (late === 0) return
      if (untilMs > nowMs) late -= 1
      removeFrom(watched, owner)
      watched.displaced.add(owner)
    }
  }

  #waits(watched: WatchedKey, owner: string, waitMs: number): void {
    const { nowMs } = this.#world
    const waiter = watched.waiters.find((each) => each.owner === owner)
    if (waiter !== undefined && waiter.untilMs <= nowMs) {
      removeFrom(watched, owner)
      watched.displaced.add(owner)
    } else if (waiter !== undefined) {
      waiter.untilMs = nowMs + waitMs
    } else if (!watched.displaced.has(owner)) {
      watched.waiters.push({ owner, untilMs: nowMs + waitMs })
    }
  }

  #key(key: string): WatchedKey {
    const existing = this.#keys.get(key)
    const watched = existing ?? {
      waiters: [],
      displaced: new Set(),
      holder: undefined,
      freeSinceMs: -Infinity,
    }
    if (existing === undefined) this.#keys.set(key, watched)
    if (watched.holder !== undefined && watched.holder.untilMs <= this.#world.nowMs) {
      watched.freeSinceMs = watched.holder.untilMs
      watched.holder = undefined
    }
    return watched
  }
}

function removeFrom({ waiters }: WatchedKey, owner: string): void {
  const index = waiters.findIndex((waiter) => waiter.owner === owner)
  if (index !== -1) waiters.splice(index, 1)
}
