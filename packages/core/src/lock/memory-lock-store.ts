import type { Clock, Timer } from '../runtime/clock.ts'
import type {
  AcquireReply,
  AcquireRequest,
  ExtendReply,
  ReleaseReply,
  SharedAcquireRequest,
  SharedMode,
} from './lock-driver.ts'

/** How long the head of a queue has the first claim on a free lock, before the next one is asked. */
const claimMs = 200
/** How long a cancelled owner is remembered: longer than any of its attempts can be on its way. */
const tombstoneMs = 60_000

/** What is asked for: a plain lock is one that is always written. */
interface Claim {
  readonly mode: SharedMode
  readonly permits: number
}

interface Waiter extends Claim {
  readonly owner: string
  /** When it stops waiting. */
  untilMs: number
}

interface Holder {
  readonly token: number
  expiresAtMs: number
}

interface LockRecord {
  /** By owner; all of one mode. */
  readonly holders: Map<string, Holder>
  /** Of the holders, when there are some. */
  mode: SharedMode
  /** First come, first served, whatever they ask for. */
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

  acquire(request: AcquireRequest | SharedAcquireRequest): AcquireReply {
    const { key, owner, ttlMs, waitMs } = request
    const claim = 'mode' in request ? request : plainClaim
    const nowMs = this.#clock.monotonicMs()
    if (this.#isCancelled(owner, nowMs)) return { status: 'cancelled' }
    const record = this.#record(key, nowMs)
    const own = record.holders.get(owner)
    if (own !== undefined) {
      // A late copy of the request must not shorten what was extended since.
      own.expiresAtMs = Math.max(own.expiresAtMs, nowMs + ttlMs)
      return { status: 'granted', token: own.token }
    }
    if (admits(record, claim) && this.#isTurnOf(owner, record, nowMs)) {
      return this.#grant(record, { owner, claim, expiresAtMs: nowMs + ttlMs }, nowMs)
    }
    if (waitMs > 0)
      enqueue(record, { owner, untilMs: nowMs + waitMs, mode: claim.mode, permits: claim.permits })
    return { status: 'busy', retryAfterMs: Math.max(1, Math.ceil(nextChangeMs(record) - nowMs)) }
  }

  extend(key: string, owner: string, ttlMs: number): ExtendReply {
    const nowMs = this.#clock.monotonicMs()
    const record = this.#existing(key, nowMs)
    const holder = record?.holders.get(owner)
    if (holder === undefined) return absence(record)
    // Two extensions may overtake each other: none shortens what another gave.
    holder.expiresAtMs = Math.max(holder.expiresAtMs, nowMs + ttlMs)
    return 'extended'
  }

  release(key: string, owner: string): ReleaseReply {
    const nowMs = this.#clock.monotonicMs()
    const record = this.#existing(key, nowMs)
    if (record === undefined || !record.holders.delete(owner)) return absence(record)
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
    record.holders.delete(owner)
    if (record.reservation?.owner === owner) this.#endReservation(record)
    this.#offerToHead(record, nowMs)
    this.#forgetIfIdle(key, record)
  }

  onWake(owner: string, wake: () => void): () => void {
    this.#wakers.set(owner, wake)
    return () => this.#wakers.delete(owner)
  }

  #record(key: string, nowMs: number): LockRecord {
    const existing = this.#existing(key, nowMs)
    if (existing !== undefined) return existing
    const record: LockRecord = { holders: new Map(), mode: 'write', queue: [], reservation: undefined }
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
    for (const [owner, { expiresAtMs }] of record.holders) {
      if (expiresAtMs <= nowMs) record.holders.delete(owner)
    }
    this.#dropAbsentHeads(record, nowMs)
    return record
  }

  /** Forgets those who do not wait any more, and one who did not come for what was reserved: back to the end, should it still be there. */
  #dropAbsentHeads(record: LockRecord, nowMs: number): void {
    for (;;) {
      const { queue, reservation } = record
      const [head] = queue
      const isReserved = head !== undefined && head.owner === reservation?.owner
      const isPresent = head !== undefined && head.untilMs > nowMs
      if (isPresent && !(isReserved && reservation.untilMs <= nowMs)) return
      // Its standby stays: it wakes the next one, unless that one asks before.
      if (isReserved) record.reservation = undefined
      if (queue.shift() === undefined) return
    }
  }

  #isTurnOf(owner: string, record: LockRecord, nowMs: number): boolean {
    const head = record.queue[0]
    if (head === undefined || head.owner === owner) return true
    this.#offerToHead(record, nowMs)
    return false
  }

  #grant(
    record: LockRecord,
    { owner, claim, expiresAtMs }: { owner: string; claim: Claim; expiresAtMs: number },
    nowMs: number,
  ): AcquireReply {
    const [beside] = record.holders.values()
    // Those who read at the same time are one party to the resource: the first one's token is that of all.
    const token = claim.mode === 'read' && beside !== undefined ? beside.token : this.#mint()
    record.holders.set(owner, { token, expiresAtMs })
    record.mode = claim.mode
    if (record.queue[0]?.owner === owner) record.queue.shift()
    this.#endReservation(record)
    this.#offerToHead(record, nowMs)
    return { status: 'granted', token }
  }

  #mint(): number {
    MemoryLockStore.#lastToken = Math.max(
      MemoryLockStore.#lastToken + 1,
      Math.floor(this.#clock.wallMs() * 1000),
    )
    return MemoryLockStore.#lastToken
  }

  /** Reserves for the head of the queue what is free for it, and wakes it; the second is woken should the head not come. */
  #offerToHead(record: LockRecord, nowMs: number): void {
    const [head] = record.queue
    if (head === undefined || record.reservation !== undefined || !admits(record, head)) return
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
    if (record.holders.size === 0 && record.queue.length === 0) this.#records.delete(key)
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

const plainClaim: Claim = { mode: 'write', permits: 1 }

function admits({ holders, mode }: LockRecord, claim: Claim): boolean {
  if (holders.size === 0) return true
  if (claim.mode === 'write' || mode === 'write') return false
  return claim.mode === 'read' || holders.size < claim.permits
}

/** When asking again may have another answer without anybody's doing. */
function nextChangeMs({ holders, reservation }: LockRecord): number {
  const endsMs = [...holders.values()].map(({ expiresAtMs }) => expiresAtMs)
  return Math.min(...endsMs, reservation?.untilMs ?? Infinity)
}

function absence(record: LockRecord | undefined): 'expired' | 'not-owner' {
  return record !== undefined && record.mode === 'write' && record.holders.size > 0 ? 'not-owner' : 'expired'
}

function enqueue(record: LockRecord, asked: Waiter): void {
  const waiter = record.queue.find((each) => each.owner === asked.owner)
  if (waiter === undefined) record.queue.push(asked)
  else waiter.untilMs = asked.untilMs
}
