import type { Clock, Timer } from '../runtime/clock.ts'
import type { AcquireReply, AcquireRequest, ExtendReply, ReleaseReply } from './lock-driver.ts'

/** How long the head of a queue has the first claim on a free lock, before the next one is asked. */
const claimMs = 200
/** How long a cancelled owner is remembered: longer than any of its attempts can be on its way. */
const tombstoneMs = 60_000

interface Waiter {
  readonly owner: string
  /** When it stops waiting. */
  untilMs: number
}

interface LockRecord {
  holder: { readonly owner: string; readonly token: number; expiresAtMs: number } | undefined
  /** First come, first served. */
  readonly queue: Waiter[]
  /** Who was told that the lock is free, and until when nobody else may take it. */
  reservation: { readonly owner: string; readonly untilMs: number; readonly standby: Timer } | undefined
}

/**
 * The locks of one cluster name in this process. The same state machine as a server script runs, one call after the
 * other: the reference for what {@link LockDriver} means.
 *
 * A free lock with a queue is *reserved* for the head, which is woken and must claim it; so a waiter that is gone costs
 * the others `claimMs`, not a whole lease.
 */
export class MemoryLockStore {
  /** Of all stores, so that tokens grow also when a store ends and another of its name begins. */
  static #lastToken = 0

  readonly #clock: Clock
  readonly #records = new Map<string, LockRecord>()
  readonly #wakers = new Map<string, () => void>()
  readonly #tombstones = new Map<string, number>()
  #sweepAtSize = 1_000

  constructor(clock: Clock) {
    this.#clock = clock
  }

  acquire({ key, owner, ttlMs, waitMs }: AcquireRequest): AcquireReply {
    const nowMs = this.#clock.monotonicMs()
    if (this.#isCancelled(owner, nowMs)) return { status: 'cancelled' }
    const record = this.#record(key, nowMs)
    if (record.holder?.owner === owner) {
      record.holder.expiresAtMs = nowMs + ttlMs
      return { status: 'granted', token: record.holder.token }
    }
    if (record.holder === undefined && this.#isTurnOf(owner, record, nowMs)) {
      return this.#grant(record, owner, nowMs + ttlMs)
    }
    if (waitMs > 0) enqueue(record, owner, nowMs + waitMs)
    const freeAtMs = record.holder?.expiresAtMs ?? record.reservation?.untilMs ?? nowMs
    return { status: 'busy', retryAfterMs: Math.max(1, Math.ceil(freeAtMs - nowMs)) }
  }

  extend(key: string, owner: string, ttlMs: number): ExtendReply {
    const nowMs = this.#clock.monotonicMs()
    const holder = this.#existing(key, nowMs)?.holder
    if (holder === undefined) return 'expired'
    if (holder.owner !== owner) return 'not-owner'
    holder.expiresAtMs = nowMs + ttlMs
    return 'extended'
  }

  release(key: string, owner: string): ReleaseReply {
    const nowMs = this.#clock.monotonicMs()
    const record = this.#existing(key, nowMs)
    if (record?.holder === undefined) return 'expired'
    if (record.holder.owner !== owner) return 'not-owner'
    record.holder = undefined
    this.#offerToHead(record, nowMs)
    this.#forgetIfIdle(key, record)
    return 'released'
  }

  cancel(key: string, owner: string): void {
    const nowMs = this.#clock.monotonicMs()
    this.#bury(owner, nowMs)
    const record = this.#existing(key, nowMs)
    if (record === undefined) return
    const index = record.queue.findIndex((waiter) => waiter.owner === owner)
    if (index !== -1) record.queue.splice(index, 1)
    if (record.holder?.owner === owner) record.holder = undefined
    if (record.reservation?.owner === owner) this.#endReservation(record)
    if (record.holder === undefined) this.#offerToHead(record, nowMs)
    this.#forgetIfIdle(key, record)
  }

  onWake(owner: string, wake: () => void): () => void {
    this.#wakers.set(owner, wake)
    return () => this.#wakers.delete(owner)
  }

  #record(key: string, nowMs: number): LockRecord {
    const existing = this.#existing(key, nowMs)
    if (existing !== undefined) return existing
    const record: LockRecord = { holder: undefined, queue: [], reservation: undefined }
    if (this.#records.size >= this.#sweepAtSize) this.#sweep(nowMs)
    this.#records.set(key, record)
    return record
  }

  /** Forgets locks that ran out and that nobody asks for. Runs whenever the number of records has doubled. */
  #sweep(nowMs: number): void {
    for (const key of this.#records.keys()) {
      const record = this.#existing(key, nowMs)
      if (record !== undefined) this.#forgetIfIdle(key, record)
    }
    this.#sweepAtSize = Math.max(1_000, this.#records.size * 2)
  }

  /** What is known of a key, after everything that has run out was removed. */
  #existing(key: string, nowMs: number): LockRecord | undefined {
    const record = this.#records.get(key)
    if (record === undefined) return undefined
    if (record.holder !== undefined && record.holder.expiresAtMs <= nowMs) record.holder = undefined
    while (record.queue[0] !== undefined && record.queue[0].untilMs <= nowMs) record.queue.shift()
    const { reservation } = record
    if (reservation !== undefined && reservation.untilMs <= nowMs) {
      // It had its chance and did not take it: back to the end, should it still be there.
      if (record.queue[0]?.owner === reservation.owner) record.queue.shift()
      this.#endReservation(record)
    }
    return record
  }

  #isTurnOf(owner: string, record: LockRecord, nowMs: number): boolean {
    const head = record.queue[0]
    if (head === undefined || head.owner === owner) return true
    this.#offerToHead(record, nowMs)
    return false
  }

  #grant(record: LockRecord, owner: string, expiresAtMs: number): AcquireReply {
    const token = Math.max(MemoryLockStore.#lastToken + 1, Math.floor(this.#clock.wallMs() * 1000))
    MemoryLockStore.#lastToken = token
    record.holder = { owner, token, expiresAtMs }
    if (record.queue[0]?.owner === owner) record.queue.shift()
    this.#endReservation(record)
    return { status: 'granted', token }
  }

  /** Reserves a free lock for the head of the queue and wakes it; the second is woken should the head not come. */
  #offerToHead(record: LockRecord, nowMs: number): void {
    const [head] = record.queue
    if (head === undefined || record.reservation !== undefined) return
    const wakeNext = (): void => {
      const next = record.queue.find((waiter) => waiter.owner !== head.owner)
      if (next !== undefined) this.#wakers.get(next.owner)?.()
    }
    const standby = this.#clock.setTimer(wakeNext, claimMs + 1, 'background')
    record.reservation = { owner: head.owner, untilMs: nowMs + claimMs, standby }
    this.#wakers.get(head.owner)?.()
  }

  #endReservation(record: LockRecord): void {
    record.reservation?.standby.cancel()
    record.reservation = undefined
  }

  #forgetIfIdle(key: string, record: LockRecord): void {
    if (record.holder === undefined && record.queue.length === 0) this.#records.delete(key)
  }

  #isCancelled(owner: string, nowMs: number): boolean {
    return (this.#tombstones.get(owner) ?? 0) > nowMs
  }

  #bury(owner: string, nowMs: number): void {
    for (const [buried, untilMs] of this.#tombstones) {
      if (untilMs > nowMs) break
      this.#tombstones.delete(buried)
    }
    this.#tombstones.set(owner, nowMs + tombstoneMs)
  }
}

function enqueue(record: LockRecord, owner: string, untilMs: number): void {
  const waiter = record.queue.find((each) => each.owner === owner)
  if (waiter === undefined) record.queue.push({ owner, untilMs })
  else waiter.untilMs = untilMs
}
